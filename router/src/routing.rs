//! Which collector a message goes to: version → route → pin, or hash and table → collector.
//!
//! [`Routing`] depends on nothing but the configuration. What is up and what is down comes in by [`View`], which each
//! thread makes anew when that changes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZero;
use std::sync::Arc;

use crate::config::{
    Config, ConfigError, ConfigProblem, Down, MAX_TARGETS, MAX_WEIGHT, Part, ProbeUrl, Route,
    VERSIONS,
};
use crate::hash::Hash;
use crate::health::Target;
use crate::prefix::Pins;
use crate::table::Table;

/// One more than the highest version.
const VERSION_SLOTS: usize = 11;

/// A configuration that was checked, made into tables.
#[derive(Debug)]
pub struct Routing {
    pub(crate) targets: Vec<Arc<Target>>,
    pub(crate) routes: Vec<RouteTable>,
    by_version: [Option<usize>; VERSION_SLOTS],
    pub(crate) default: Option<usize>,
}

/// A route made into tables.
#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) versions: Vec<u8>,
    pub(crate) hash: Hash,
    pub(crate) shards: NonZero<u32>,
    table: Table,
    /// The targets of the table's collectors.
    pub(crate) collectors: Vec<usize>,
    weights: Vec<u32>,
    pub(crate) down: Down,
    pins: Pins,
    pub(crate) copies: Vec<CopyTarget>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct CopyTarget {
    pub(crate) target: usize,
    pub(crate) every: NonZero<u32>,
}

/// Where an exporter's messages of a version belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) route: usize,
    pub(crate) shard: u32,
    pub(crate) pinned: Option<usize>,
}

impl Routing {
    /// Checks a configuration whole. Of `previous` it keeps what is known of the collectors that stay.
    ///
    /// # Errors
    ///
    /// A part of the configuration makes no sense.
    pub fn new(config: &Config, previous: Option<&Self>) -> Result<Self, ConfigError> {
        let mut targets = Targets {
            targets: Vec::new(),
            previous,
        };
        if config.routes.is_empty() && config.default.is_none() {
            return Err(at(Part::Whole, ConfigProblem::NoRoutes));
        }
        let mut by_version = [None; VERSION_SLOTS];
        let mut routes = Vec::with_capacity(config.routes.len());
        for (index, route) in config.routes.iter().enumerate() {
            let wrong = |problem| at(Part::Route(index), problem);
            if route.versions.is_empty() {
                return Err(wrong(ConfigProblem::NoVersions));
            }
            for &version in &route.versions {
                if !VERSIONS.contains(&version) {
                    return Err(wrong(ConfigProblem::UnknownVersion { version }));
                }
                match by_version.get_mut(usize::from(version)) {
                    Some(slot @ None) => *slot = Some(index),
                    _ => return Err(wrong(ConfigProblem::VersionTwice { version })),
                }
            }
            routes.push(RouteTable::new(index, route, &mut targets)?);
        }
        let default = match config.default {
            Some(address) => Some(targets.plain(address, Part::Whole)?),
            None => None,
        };
        Ok(Self {
            targets: targets.targets,
            routes,
            by_version,
            default,
        })
    }

    /// The collector of an exporter's messages of a version, where all are up. `None` where no route takes the version.
    #[must_use]
    pub fn collector_of(&self, version: u16, exporter: IpAddr) -> Option<SocketAddr> {
        let place = self.place(version, exporter)?;
        let route = self.routes.get(place.route)?;
        let target = place.pinned.or_else(|| route.target(place.shard))?;
        self.targets.get(target).map(|target| target.address())
    }

    /// Every address that datagrams may go to.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.targets.iter().map(|target| target.address())
    }

    #[inline]
    pub(crate) fn place(&self, version: u16, exporter: IpAddr) -> Option<Place> {
        let route = (*self.by_version.get(usize::from(version))?)?;
        let of_route = self.routes.get(route)?;
        Some(Place {
            route,
            shard: of_route.hash.shard(exporter, of_route.shards),
            pinned: of_route.pins.find(exporter),
        })
    }

    pub(crate) fn uses_spool(&self) -> bool {
        self.routes.iter().any(|route| route.down == Down::Spool)
    }
}

impl RouteTable {
    fn new(index: usize, route: &Route, targets: &mut Targets<'_>) -> Result<Self, ConfigError> {
        if route.collectors.is_empty() {
            return Err(at(Part::Route(index), ConfigProblem::NoCollectors));
        }
        let mut collectors = Vec::with_capacity(route.collectors.len());
        for (number, collector) in route.collectors.iter().enumerate() {
            let (address, weight) = (collector.address, collector.weight);
            let wrong = |problem| at(Part::Collector(index, number), problem);
            if weight > MAX_WEIGHT {
                return Err(wrong(ConfigProblem::Weight { address, weight }));
            }
            let target = targets
                .find(address, collector.probe.as_ref())
                .map_err(wrong)?;
            if collectors.contains(&target) {
                return Err(wrong(ConfigProblem::CollectorTwice { address }));
            }
            collectors.push(target);
        }
        let weights: Vec<u32> = route.collectors.iter().map(|of| of.weight).collect();
        let table = Table::new(route.shards, &weights)
            .map_err(|error| at(Part::Route(index), error.into()))?;
        let pins = pins(index, route, &collectors)?;
        let copies = copies(index, route, &collectors, targets)?;
        Ok(Self {
            versions: route.versions.clone(),
            hash: route.hash,
            shards: route.shards,
            table,
            collectors,
            weights,
            down: route.down,
            pins,
            copies,
        })
    }

    /// The target of a shard where all are up.
    pub(crate) fn target(&self, shard: u32) -> Option<usize> {
        self.collectors.get(self.table.collector(shard)).copied()
    }

    /// The targets of all shards: those of collectors that are down go to the others, as even as their weights say.
    fn targets(&self, is_up: impl Fn(usize) -> bool) -> Box<[usize]> {
        let mut targets: Box<[usize]> = (0..self.shards.get())
            .map(|shard| self.target(shard).unwrap_or_default())
            .collect();
        if self.down != Down::Spread {
            return targets;
        }
        let up = || {
            self.collectors
                .iter()
                .zip(&self.weights)
                .filter(|(of, _)| is_up(**of))
        };
        let lost = targets.iter().filter(|target| !is_up(**target)).count();
        let Some(shards) = u32::try_from(lost).ok().and_then(NonZero::new) else {
            return targets;
        };
        let others: Vec<usize> = up().map(|(target, _)| *target).collect();
        let weights: Vec<u32> = up().map(|(_, weight)| *weight).collect();
        // Collectors with no weight get pinned exporters only, unless no other is left.
        let table =
            Table::fill(shards, &weights).or_else(|_| Table::fill(shards, &vec![1; others.len()]));
        // With nobody left, everything stays where it is.
        let Ok(table) = table else { return targets };
        let lost = targets.iter_mut().filter(|target| !is_up(**target));
        for (number, target) in (0..).zip(lost) {
            if let Some(other) = others.get(table.collector(number)) {
                *target = *other;
            }
        }
        targets
    }
}

/// Who is pinned to which of the route's collectors, whose targets are `collectors`.
fn pins(index: usize, route: &Route, collectors: &[usize]) -> Result<Pins, ConfigError> {
    let known = || route.collectors.iter().map(|collector| collector.address);
    let mut pins = Pins::default();
    for (number, pin) in route.pins.iter().enumerate() {
        let wrong = |problem| at(Part::Pin(index, number), problem);
        let position = known().position(|address| address == pin.collector);
        let Some(target) = position.and_then(|position| collectors.get(position)) else {
            let likeness = |address: &SocketAddr| {
                (
                    address.ip() != pin.collector.ip(),
                    address.port() != pin.collector.port(),
                )
            };
            let nearest = known().filter(|address| likeness(address) != (true, true));
            return Err(wrong(ConfigProblem::PinElsewhere {
                exporters: pin.exporters,
                collector: pin.collector,
                nearest: nearest.min_by_key(likeness),
            }));
        };
        if !pins.add(pin.exporters, *target) {
            let exporters = pin.exporters;
            return Err(wrong(ConfigProblem::PinTwice { exporters }));
        }
    }
    Ok(pins)
}

/// Who gets copies: none of the route's collectors.
fn copies(
    index: usize,
    route: &Route,
    collectors: &[usize],
    targets: &mut Targets<'_>,
) -> Result<Vec<CopyTarget>, ConfigError> {
    let mut copies: Vec<CopyTarget> = Vec::with_capacity(route.copies.len());
    for (number, copy) in route.copies.iter().enumerate() {
        let (address, part) = (copy.to, Part::Copy(index, number));
        let target = targets.plain(address, part)?;
        if collectors.contains(&target) {
            return Err(at(part, ConfigProblem::CopyToCollector { address }));
        }
        if copies.iter().any(|other| other.target == target) {
            return Err(at(part, ConfigProblem::CopyTwice { address }));
        }
        let every = copy.every;
        copies.push(CopyTarget { target, every });
    }
    Ok(copies)
}

/// Which targets are up, and what follows for shards: a thread's own.
#[derive(Debug)]
pub(crate) struct View {
    /// By target.
    pub(crate) targets: Vec<Seen>,
    /// By route and shard.
    shards: Vec<Box<[usize]>>,
    /// By route: the incarnations of those that get copies, mixed; `None` where there are none.
    copies: Vec<Option<u64>>,
}

/// What a thread has seen of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) address: SocketAddr,
    pub(crate) up: bool,
    /// It is an address of the router's: nothing must be sent to it.
    pub(crate) loops: bool,
    /// Changes when it comes back, and is no other target's.
    pub(crate) incarnation: u64,
}

impl View {
    pub(crate) fn new(routing: &Routing) -> Self {
        let mut view = Self {
            targets: Vec::new(),
            shards: Vec::new(),
            copies: Vec::new(),
        };
        view.make(routing);
        view
    }

    /// Looks at the targets again; whether anything has changed.
    pub(crate) fn refresh(&mut self, routing: &Routing) -> bool {
        let now = routing.targets.iter().map(|target| target.seen());
        let changed = !now.eq(self.targets.iter().copied());
        if changed {
            self.make(routing);
        }
        changed
    }

    fn make(&mut self, routing: &Routing) {
        self.targets = routing.targets.iter().map(|target| target.seen()).collect();
        let is_up = |target: usize| self.targets.get(target).is_some_and(|seen| seen.up);
        self.shards = routing
            .routes
            .iter()
            .map(|route| route.targets(is_up))
            .collect();
        let mixed = |route: &RouteTable| {
            let copies = route.copies.iter();
            let incarnations = copies.map(|copy| self.incarnation(copy.target));
            incarnations.reduce(|mixed, next| mixed.wrapping_mul(31).wrapping_add(next))
        };
        self.copies = routing.routes.iter().map(mixed).collect();
    }

    #[inline]
    pub(crate) fn is_up(&self, target: usize) -> bool {
        self.seen(target).up
    }

    #[inline]
    pub(crate) fn incarnation(&self, target: usize) -> u64 {
        self.seen(target).incarnation
    }

    #[inline]
    pub(crate) fn copies(&self, route: usize) -> Option<u64> {
        self.copies.get(route).copied().flatten()
    }

    /// A target that there is not is nowhere.
    #[inline]
    pub(crate) fn seen(&self, target: usize) -> Seen {
        const NOWHERE: Seen = Seen {
            address: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
            up: false,
            loops: false,
            incarnation: 0,
        };
        self.targets.get(target).copied().unwrap_or(NOWHERE)
    }

    pub(crate) fn position(&self, address: SocketAddr) -> Option<usize> {
        self.targets.iter().position(|seen| seen.address == address)
    }

    /// Where a message goes now.
    #[inline]
    pub(crate) fn target(&self, route: &RouteTable, place: Place) -> usize {
        match place.pinned {
            Some(target) if route.down != Down::Spread || self.is_up(target) => target,
            _ => self
                .shards
                .get(place.route)
                .and_then(|shards| shards.get(place.shard as usize))
                .copied()
                .unwrap_or_default(),
        }
    }
}

fn at(part: Part, problem: ConfigProblem) -> ConfigError {
    ConfigError { part, problem }
}

/// The targets of a configuration, each address once.
struct Targets<'p> {
    targets: Vec<Arc<Target>>,
    previous: Option<&'p Routing>,
}

impl Targets<'_> {
    /// An address without a probe.
    fn plain(&mut self, address: SocketAddr, part: Part) -> Result<usize, ConfigError> {
        self.find(address, None)
            .map_err(|problem| at(part, problem))
    }

    fn find(
        &mut self,
        address: SocketAddr,
        probe: Option<&ProbeUrl>,
    ) -> Result<usize, ConfigProblem> {
        let ip = address.ip().to_canonical();
        let is_of_many = ip.is_multicast() || ip == Ipv4Addr::BROADCAST;
        if address.port() == 0 || ip.is_unspecified() || is_of_many {
            return Err(ConfigProblem::Address { address });
        }
        let address = match (ip, address) {
            (IpAddr::V4(_), SocketAddr::V6(_)) => SocketAddr::new(ip, address.port()),
            // With its scope, which a link-local address needs.
            _ => address,
        };
        let known = self
            .targets
            .iter()
            .position(|target| target.address() == address);
        if let Some(index) = known {
            let probed = self.targets.get(index).and_then(|target| target.probe());
            match (probed, probe) {
                (Some(known), Some(probe)) if known != probe => {
                    return Err(ConfigProblem::Probes { address });
                }
                (None, Some(_)) => {
                    let target = self.make(address, probe);
                    if let Some(slot) = self.targets.get_mut(index) {
                        *slot = target;
                    }
                }
                _ => {}
            }
            return Ok(index);
        }
        if self.targets.len() == MAX_TARGETS {
            return Err(ConfigProblem::TooManyTargets);
        }
        let target = self.make(address, probe);
        self.targets.push(target);
        Ok(self.targets.len() - 1)
    }

    /// A target with what was known of it.
    fn make(&self, address: SocketAddr, probe: Option<&ProbeUrl>) -> Arc<Target> {
        let same = |target: &&Arc<Target>| target.address() == address && target.probe() == probe;
        let previous = self.previous.map(|previous| &previous.targets);
        let known = previous.into_iter().flatten().find(same).cloned();
        known.unwrap_or_else(|| Target::new(address, probe.cloned()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
