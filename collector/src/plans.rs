//! The plans of a shard, one for each layout.
//!
//! Thousands of exporters of a kind send the same few layouts: they share the plans, and so
//! their records gather together.

use std::sync::{Arc, Weak};

use ahash::AHashMap;
use forebay_wire::{FieldSpecifier, Template};

use crate::config::ExtraColumn;
use crate::plan::{FIXED_PLANS, Plan};

/// So many layouts are remembered before those that nobody uses any more are looked for.
const LOOK_FOR_UNUSED: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Plans {
    by_fields: AHashMap<Box<[FieldSpecifier]>, Weak<Plan>>,
    /// When to look for unused ones.
    most: usize,
    next_number: usize,
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            by_fields: AHashMap::new(),
            most: LOOK_FOR_UNUSED,
            next_number: FIXED_PLANS,
        }
    }
}

impl Plans {
    /// The plan of a template of data records. `extra` is the same each time.
    pub(crate) fn of_template(&mut self, template: &Template, extra: &[ExtraColumn]) -> Arc<Plan> {
        let known = self.by_fields.get(template.fields.as_slice());
        if let Some(plan) = known.and_then(Weak::upgrade) {
            return plan;
        }
        let plan = Arc::new(Plan::of_template(template, extra, self.next_number));
        self.next_number += plan.rows.plans();
        if self.by_fields.len() >= self.most {
            self.by_fields.retain(|_, plan| plan.strong_count() > 0);
            let used = self.by_fields.len();
            self.most = LOOK_FOR_UNUSED.max(used + used / 4);
        }
        let fields = template.fields.clone().into();
        self.by_fields.insert(fields, Arc::downgrade(&plan));
        plan
    }
}

#[cfg(test)]
mod tests {
    use forebay_wire::ElementId;

    use super::*;

    fn template(id: u16, length: u16) -> Template {
        let element = ElementId::iana(1);
        Template {
            id,
            scope_count: 0,
            fields: vec![FieldSpecifier { element, length }],
        }
    }

    #[test]
    fn equal_layouts_share_a_plan_and_those_out_of_use_are_forgotten() {
        let mut plans = Plans::default();
        let one = plans.of_template(&template(256, 4), &[]);
        assert!(Arc::ptr_eq(
            &one,
            &plans.of_template(&template(300, 4), &[])
        ));
        for length in 100..9_000 {
            plans.of_template(&template(256, length), &[]);
        }
        assert!(plans.by_fields.len() <= LOOK_FOR_UNUSED);
        assert!(Arc::ptr_eq(
            &one,
            &plans.of_template(&template(256, 4), &[])
        ));
    }
}
