//! Templates remembered from message to message.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use forebay_wire::Template;
use forebay_wire::set::Version;

/// How many templates are remembered: what comes beyond is told of, and its data is shown without one.
const TEMPLATES_MAX: usize = 65_536;

/// Whose template: of which observation domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) version: Version,
    pub(super) exporter: SocketAddr,
    pub(super) domain: u32,
}

/// Exporter address, version, observation domain and template id. The ports of the address stand beside the templates.
type Key = (IpAddr, Version, u32, u16);

/// The templates of all exporters.
///
/// A template belongs to the exporter's address, port, and observation domain. Some exporters send templates from
/// another port than data: if the port has no template of an id, but all other ports of the address that know the id
/// agree on its layout, that is used. Layouts that differ are never guessed between.
#[derive(Debug, Default)]
pub(super) struct Templates {
    by_address: HashMap<Key, Vec<(u16, Arc<Template>)>>,
    count: usize,
}

/// What a definition does to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Same,
    Changed,
    /// There is no room for it.
    Refused,
}

impl Templates {
    pub(super) fn define(&mut self, session: Session, template: &Arc<Template>) -> Change {
        let key = key(session, template.id);
        let port = session.exporter.port();
        let known = self.by_address.get_mut(&key);
        let known = known.and_then(|ports| ports.iter_mut().find(|entry| entry.0 == port));
        match known {
            Some(entry) if entry.1 == *template => Change::Same,
            Some(entry) => {
                entry.1 = Arc::clone(template);
                Change::Changed
            }
            None if self.count >= TEMPLATES_MAX => Change::Refused,
            None => {
                self.count += 1;
                let ports = self.by_address.entry(key).or_default();
                ports.push((port, Arc::clone(template)));
                Change::New
            }
        }
    }

    /// The template of a data set.
    pub(super) fn find(&self, session: Session, id: u16) -> Option<Arc<Template>> {
        let ports = self.by_address.get(&key(session, id))?;
        let port = session.exporter.port();
        if let Some((_, template)) = ports.iter().find(|entry| entry.0 == port) {
            return Some(Arc::clone(template));
        }
        let (_, first) = ports.first()?;
        let agreed = ports.iter().all(|(_, template)| template == first);
        agreed.then(|| Arc::clone(first))
    }
}

fn key(session: Session, id: u16) -> Key {
    (session.exporter.ip(), session.version, session.domain, id)
}

#[cfg(test)]
mod tests {
    use forebay_wire::{ElementId, FieldSpecifier};

    use super::*;

    fn session(exporter: &str) -> Session {
        Session {
            version: Version::V9,
            exporter: exporter.parse().expect("an address"),
            domain: 1,
        }
    }

    fn template(element: u16) -> Arc<Template> {
        let element = ElementId::iana(element);
        let fields = vec![FieldSpecifier { element, length: 4 }];
        Arc::new(Template {
            id: 256,
            scope_count: 0,
            fields,
        })
    }

    #[test]
    fn a_sibling_port_helps_out_as_long_as_all_agree() {
        let mut templates = Templates::default();
        let (a, b, c) = ("192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3");
        assert_eq!(templates.define(session(a), &template(8)), Change::New);
        assert_eq!(templates.define(session(a), &template(8)), Change::Same);
        assert_eq!(templates.find(session(c), 256), Some(template(8)));
        assert_eq!(templates.find(session("192.0.2.2:1"), 256), None);

        assert_eq!(templates.define(session(b), &template(12)), Change::New);
        assert_eq!(templates.find(session(c), 256), None);
        assert_eq!(templates.find(session(b), 256), Some(template(12)));
        assert_eq!(templates.define(session(b), &template(8)), Change::Changed);
        assert_eq!(templates.find(session(c), 256), Some(template(8)));
    }

    #[test]
    fn domains_are_apart() {
        let mut templates = Templates::default();
        templates.define(session("192.0.2.1:1"), &template(8));
        let other = Session {
            domain: 2,
            ..session("192.0.2.1:1")
        };
        assert_eq!(templates.find(other, 256), None);
    }
}
