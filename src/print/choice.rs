//! Which columns are shown, and which of a file's they are read from.

use std::path::PathBuf;

use anyhow::Result;
use arrow_schema::Schema;
use forebay_store::{Family, FlowFile, FlowSchema};

use crate::nearest::nearest;
use crate::outcome::WrongUsage;
use crate::show::cells::Shown;

/// Columns that are shown as one: the readable form of an address of either family, and where it is read from.
const MERGED: [(&str, [&str; 2]); 4] = [
    ("src_addr", ["src_ipv4", "src_ipv6"]),
    ("dst_addr", ["dst_ipv4", "dst_ipv6"]),
    ("next_hop", ["next_hop_ipv4", "next_hop_ipv6"]),
    ("bgp_next_hop", ["bgp_next_hop_ipv4", "bgp_next_hop_ipv6"]),
];

/// Which columns are shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Every column of each file.
    All,
    /// These, in this order.
    Named(Vec<String>),
}

impl Choice {
    pub(super) fn named(names: &[&str]) -> Self {
        Self::Named(names.iter().map(ToString::to_string).collect())
    }

    /// The columns that `names` tells, if all of them exist.
    pub(super) fn checked(names: &[String], paths: &[PathBuf]) -> Result<Self> {
        let mut known = shown_names(standard_columns());
        known.extend(standard_columns());
        if names.iter().any(|name| !known.contains(name)) {
            known.extend(columns_of(paths)?);
        }
        for name in names {
            if !known.contains(name) {
                let mut what = format!("no column is called \"{name}\"");
                if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
                    what.push_str(&format!(": did you mean \"{near}\"?"));
                }
                return Err(WrongUsage(what).into());
            }
        }
        Ok(Self::Named(names.to_vec()))
    }

    /// The standard columns, and those that a file has besides.
    pub(super) fn every_column_of(paths: &[PathBuf]) -> Result<Self> {
        let mut names: Vec<String> = standard_columns().collect();
        for name in columns_of(paths)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(Self::Named(shown_names(names.into_iter())))
    }

    /// The names that are known before anything is read.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::Named(names) => names,
            Self::All => &[],
        }
    }

    /// What is shown of a batch with those columns.
    pub(super) fn shown(&self, schema: &Schema, family: Family) -> Vec<Shown> {
        let all;
        let names = match self {
            Self::Named(names) => names,
            Self::All => {
                all = shown_names(schema.fields().iter().map(|field| field.name().clone()));
                &all
            }
        };
        let columns = |name: &String| {
            let sources = sources(name, family).into_iter().map(str::to_owned);
            (name.clone(), sources.collect())
        };
        names.iter().map(columns).collect()
    }

    /// The columns to be read of a file; `None` for all.
    pub(super) fn projection(&self) -> Option<Vec<&str>> {
        let Self::Named(names) = self else {
            return None;
        };
        Some(
            names
                .iter()
                .flat_map(|name| sources(name, Family::Ipv4))
                .collect(),
        )
    }
}

/// The columns that a shown column is read from; of two, the one of the file's family first.
fn sources(name: &str, family: Family) -> Vec<&str> {
    match MERGED.iter().find(|(merged, _)| *merged == name) {
        Some((_, [ipv4, ipv6])) if family == Family::Ipv6 => vec![ipv6, ipv4],
        Some((_, [ipv4, ipv6])) => vec![ipv4, ipv6],
        None => vec![name],
    }
}

/// The names under which columns are shown, each once and in order.
fn shown_names(columns: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let merged = MERGED
            .iter()
            .find(|(_, from)| from.contains(&column.as_str()));
        let name = merged.map_or(column, |(name, _)| (*name).to_owned());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn standard_columns() -> impl Iterator<Item = String> {
    let schema = FlowSchema::default();
    let columns = schema.columns();
    columns.map(move |column| schema.name(column).to_owned())
}

fn columns_of(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in paths {
        let file = FlowFile::open(path, None)?;
        for field in file.schema().fields() {
            if !names.contains(field.name()) {
                names.push(field.name().clone());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_are_one_column() {
        let columns = ["first", "src_ipv4", "dst_ipv4", "src_ipv6", "nat_src_ipv4"];
        let names = shown_names(columns.into_iter().map(str::to_owned));
        assert_eq!(names, ["first", "src_addr", "dst_addr", "nat_src_ipv4"]);
        assert_eq!(sources("src_addr", Family::Ipv6), ["src_ipv6", "src_ipv4"]);
        assert_eq!(sources("src_addr", Family::Other), ["src_ipv4", "src_ipv6"]);
        assert_eq!(sources("packets", Family::Ipv6), ["packets"]);
    }

    #[test]
    fn a_choice_reads_what_it_needs() {
        let choice = Choice::named(&["packets", "dst_addr"]);
        assert_eq!(
            choice.projection(),
            Some(vec!["packets", "dst_ipv4", "dst_ipv6"])
        );
        assert_eq!(Choice::All.projection(), None);
    }

    #[test]
    fn a_column_that_nobody_has_is_told_with_the_nearest() {
        let names = ["src_adr".to_owned()];
        let error = Choice::checked(&names, &[]).expect_err("no such column");
        assert_eq!(
            error.to_string(),
            "no column is called \"src_adr\": did you mean \"src_addr\"?"
        );
    }
}
