//! The route file in use.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use forebay_router::{Config, Route, Routing};
use toml::Table;

use crate::outcome::WrongUsage;
use crate::route;

/// The top-level keys that say what routes are: a route file that is written has them in its routes.
const ROUTE_KEYS: [&str; 6] = ["route", "to", "versions", "shards", "hash", "down"];

/// A route file, and the route of it that is balanced.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) config: Config,
    /// What the file holds besides routes.
    pub(super) settings: Table,
    routing: Routing,
    index: usize,
    route: Route,
}

impl Current {
    /// Loads a route file. Of several routes that is balanced which takes `versions`.
    ///
    /// # Errors
    /// The file cannot be read or makes no sense, or `versions` name no route or more than one.
    pub(super) fn load(path: &Path, versions: &[u8]) -> Result<Self> {
        let config = route::load_config(path)?;
        let name = path.display();
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read configuration {name}"))?;
        let mut settings: Table = toml::from_str(&text)?;
        settings.retain(|key, _| !ROUTE_KEYS.contains(&key));
        let matching: Vec<usize> = config
            .routes
            .iter()
            .enumerate()
            .filter(|(_, route)| {
                versions.is_empty() || versions.iter().any(|v| route.versions.contains(v))
            })
            .map(|(index, _)| index)
            .collect();
        let &[index] = matching.as_slice() else {
            let routes: Vec<String> = config
                .routes
                .iter()
                .map(|route| format!("--versions {}", list(&route.versions)))
                .collect();
            let what = match matching.len() {
                0 if routes.is_empty() => format!("{name} has no route"),
                0 => format!(
                    "{name} has no route for these versions: take {}",
                    routes.join(" or ")
                ),
                _ => format!(
                    "{name} has several routes: say which is to be balanced, by {}",
                    routes.join(" or ")
                ),
            };
            return Err(WrongUsage(what).into());
        };
        let routing = Routing::new(&config, None)?;
        let route = config.routes.get(index).cloned();
        Ok(Self {
            route: route.context("a route that was found is there")?,
            config,
            settings,
            routing,
            index,
        })
    }

    /// The route that is balanced.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// Whether it sends with the exporters' addresses.
    pub(super) fn keeps_source(&self) -> bool {
        let source = self.settings.get("source");
        source.and_then(toml::Value::as_str) != Some("own")
    }

    /// Its index among the routes.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The collector that an exporter is sent to.
    pub(super) fn collector_of(&self, exporter: IpAddr) -> Option<SocketAddr> {
        let version = self.route.versions.first()?;
        self.routing.collector_of(u16::from(*version), exporter)
    }
}

/// `5,9,10`
fn list(versions: &[u8]) -> String {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    versions.join(",")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use forebay_router::{Down, Hash, is_prime};

    use super::*;

    fn example() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/route.toml")
    }

    #[test]
    fn the_example_is_a_configuration_that_says_what_its_comments_say() {
        let current = Current::load(&example(), &[9]).expect("it is checked whole");
        let route = current.route();
        assert_eq!(route.versions, [9, 10]);
        assert_eq!(route.collectors.len(), 7);
        assert!(is_prime(route.shards.get()));
        assert_eq!((route.hash, route.down), (Hash::Address, Down::Spread));
        let border = "203.0.113.1".parse().expect("an address");
        let seventh = route.collectors.last().map(|collector| collector.address);
        assert_eq!(current.collector_of(border), seventh);
        assert!(current.settings.contains_key("spool"));
        assert!(!current.settings.contains_key("route"));

        let v5 = Current::load(&example(), &[5]).expect("the other route");
        assert_eq!(v5.index(), 1);
        assert_eq!(v5.route().down, Down::Spool);
    }
}
