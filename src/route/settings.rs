//! What `route` is told, checked whole: nothing is opened before this stands.

use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use forebay_router::{
    Collector, Config, CopyTo, Down, Hash, Limits, Part, Pin, Route, Routing, Setup,
    default_shards, is_prime, looped, smallest_prime_from,
};
use forebay_udp::{PacketError, PacketOptions, SocketOptions, wildcard};
use toml::Spanned;

use super::raw::{DownName, HashName, InputName, Raw, RawRoute, SourceName, TABLES};
use crate::collect::{LogName, listens_twice};
use crate::config_file;
use crate::outcome::WrongUsage;
use crate::units::{Period, Size};

/// More threads than this are for machines that need them.
const THREADS_BY_DEFAULT_MAX: usize = 4;
const THREADS_MAX: usize = 1_024;
const PORTS: [u16; 2] = [2055, 4739];
const VERSIONS: [u8; 3] = [5, 9, 10];

/// What to do.
#[derive(Debug)]
pub(super) struct Settings {
    /// What stays the same until a restart.
    pub(super) fixed: Fixed,
    /// What a reload may change.
    pub(super) routes: Config,
    /// What is worth a word, but no error.
    pub(super) warnings: Vec<String>,
    pub(super) limits: Limits,
    pub(super) spool: PathBuf,
    pub(super) spool_bytes: u64,
    pub(super) log: LogName,
    pub(super) fail_on_loss: bool,
    pub(super) grace: Duration,
}

/// What sockets and threads are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) listen: Vec<SocketAddr>,
    /// The same once it is open: port 0 is any that is free.
    pub(super) bound: Vec<SocketAddr>,
    pub(super) input: Input,
    pub(super) source: Source,
    pub(super) threads: usize,
    pub(super) http: Option<SocketAddr>,
}

/// How datagrams come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    Sockets(SocketOptions),
    Packets {
        interfaces: Vec<String>,
        ring_bytes: usize,
    },
}

/// Whose address datagrams are sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Exporter,
    Own,
}

/// What makes no sense, and where in the file, if it is in one.
#[derive(Debug)]
struct Wrong {
    span: Option<Range<usize>>,
    what: String,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self { span: None, what }
    }
}

impl Settings {
    /// Checks what was told, and adds what was not.
    ///
    /// # Errors
    /// Something makes no sense: wrong usage, by the name of the setting, and by the line of the file.
    pub(super) fn new(flags: Raw) -> Result<Self> {
        let Some(path) = flags.config.clone() else {
            return Self::checked(&flags, true).map_err(|wrong| WrongUsage(wrong.what).into());
        };
        let file = config_file::load::<Raw>(&path, TABLES)?;
        // The file by itself, so that what is wrong in it is told by its name. Its collectors may come by flag.
        let located = |wrong: Wrong| file.wrong(wrong.span, &wrong.what);
        Self::checked(&file.settings, false).map_err(located)?;
        if !flags.versions.is_empty() && flags.to.is_empty() && !file.settings.route.is_empty() {
            let what = "versions is for --to: the routes of the file have their own".to_owned();
            return Err(WrongUsage(what).into());
        }
        let together = flags.over(file.settings.clone());
        Self::checked(&together, true).map_err(|wrong| {
            if wrong.span.is_some() {
                located(wrong).into()
            } else {
                WrongUsage(wrong.what).into()
            }
        })
    }

    /// The routes of a file, which may be for another machine.
    ///
    /// # Errors
    /// The file cannot be read, or makes no sense: wrong usage, by its name and line.
    pub(super) fn routes_of(path: &Path) -> Result<Config> {
        let file = config_file::load::<Raw>(path, TABLES)?;
        let checked = Self::checked(&file.settings, false);
        let settings = checked.map_err(|wrong| file.wrong(wrong.span, &wrong.what))?;
        if settings.routes.routes.is_empty() {
            return Err(file
                .wrong(None, "there is no route: name the collectors")
                .into());
        }
        Ok(settings.routes)
    }

    /// `whole` is whether there must be a route, and none may lead back to this machine.
    fn checked(raw: &Raw, whole: bool) -> Result<Self, Wrong> {
        let fixed = fixed(raw)?;
        let (routes, mut warnings) = routes(raw)?;
        if whole && routes.routes.is_empty() && routes.default.is_none() {
            return Err(no_route(raw).into());
        }
        if whole || !routes.routes.is_empty() {
            let routing = Routing::new(&routes, None).map_err(|error| Wrong {
                span: span(raw, error.part),
                what: error.to_string(),
            })?;
            if whole {
                refuse_loops(raw, &fixed, &routes, &routing)?;
                if let Some(packets) = fixed.packets(routing.addresses().collect()) {
                    packets.check().map_err(|error| error.to_string())?;
                }
                warnings.extend(left_out(&fixed, &routing));
            }
        }
        if raw.spool_size.is_some_and(|Size(size)| size < 1 << 20) {
            return Err("spool-size must be at least 1MiB".to_owned().into());
        }
        Ok(Self {
            fixed,
            routes,
            warnings,
            limits: limits(raw)?,
            spool: raw.spool.clone().unwrap_or_else(|| PathBuf::from("spool")),
            spool_bytes: raw.spool_size.map_or(1 << 30, |Size(size)| size),
            log: raw.log.unwrap_or(LogName::Text),
            fail_on_loss: raw.fail_on_loss,
            grace: raw
                .grace
                .map_or(Duration::from_secs(10), |Period(grace)| grace),
        })
    }

    /// What the router is told that stays the same while it runs.
    pub(super) fn setup(&self) -> Setup {
        Setup {
            limits: self.limits,
            spool: self.spool.clone(),
            spool_bytes: self.spool_bytes,
            threads: self.fixed.threads,
            listen: self.fixed.loops_by(),
        }
    }

    /// Checks that a router that runs with other settings can take over these routes: that none leads back to where it
    /// listens, and that its rings can leave out all collectors, those before too.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check_against(&self, running: &Self) -> Result<()> {
        let routing = Routing::new(&self.routes, None)?;
        if let Some((_, what)) = first_loop(&running.fixed, &routing) {
            return Err(WrongUsage(what).into());
        }
        let before = Routing::new(&running.routes, None)?;
        let mut exclude: Vec<SocketAddr> = routing.addresses().chain(before.addresses()).collect();
        exclude.sort_unstable();
        exclude.dedup();
        let packets = running.fixed.packets(exclude);
        match packets.map(|packets| packets.check()) {
            Some(Err(error @ PacketError::TooManyAddresses { .. })) => {
                Err(WrongUsage(error.to_string()).into())
            }
            // The rings are open, whatever has become of an interface.
            _ => Ok(()),
        }
    }

    /// The settings that differ from `running` and cannot be changed without a restart.
    pub(super) fn need_restart(&self, running: &Self) -> Vec<&'static str> {
        let (new, old) = (&self.fixed, &running.fixed);
        [
            ("listen", new.listen != old.listen),
            ("input", new.input != old.input),
            ("source", new.source != old.source),
            ("threads", new.threads != old.threads),
            ("http", new.http != old.http),
            ("limits", self.limits != running.limits),
            (
                "spool",
                (&self.spool, self.spool_bytes) != (&running.spool, running.spool_bytes),
            ),
            ("log", self.log != running.log),
            ("fail-on-loss", self.fail_on_loss != running.fail_on_loss),
            ("grace", self.grace != running.grace),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

impl Fixed {
    /// The addresses by which what is sent may come in again.
    fn loops_by(&self) -> Vec<SocketAddr> {
        // A ring never takes what goes to a collector; with every address listened on, the collector may be one of them.
        let explicit = |address: &&SocketAddr| {
            matches!(self.input, Input::Sockets(_)) || !address.ip().is_unspecified()
        };
        self.bound.iter().filter(explicit).copied().collect()
    }

    /// The rings that take packets, but none that go to `exclude`; `None` where datagrams come by sockets.
    pub(super) fn packets(&self, exclude: Vec<SocketAddr>) -> Option<PacketOptions> {
        match &self.input {
            Input::Sockets(_) => None,
            Input::Packets {
                interfaces,
                ring_bytes,
            } => Some(PacketOptions {
                interfaces: interfaces.clone(),
                listen: self.listen.clone(),
                exclude,
                shards: self.threads,
                ring_bytes: *ring_bytes,
            }),
        }
    }
}

fn fixed(raw: &Raw) -> Result<Fixed, Wrong> {
    let listen: Vec<SocketAddr> = raw.listen.iter().map(|listen| listen.0).collect();
    let threads = match raw.threads {
        None => thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(THREADS_BY_DEFAULT_MAX),
        Some(threads @ 1..=THREADS_MAX) => threads,
        Some(threads) => {
            return Err(
                format!("threads is {threads}, but must be from 1 to {THREADS_MAX}").into(),
            );
        }
    };
    let bytes = |name: &str, told: Option<Size>| {
        let Size(size) = told.unwrap_or(Size(64 << 20));
        match usize::try_from(size) {
            Ok(bytes) if (1 << 16..=1 << 31).contains(&size) => Ok(bytes),
            _ => {
                let (size, least, most) = (Size(size), Size(1 << 16), Size(1 << 31));
                let what = format!("{name} is {size}, but must be from {least} to {most}");
                Err(Wrong::from(what))
            }
        }
    };
    let receive_buffer_bytes = bytes("receive-buffer", raw.receive_buffer)?;
    let ring_bytes = bytes("ring-size", raw.ring_size)?;
    let input = match raw.input.unwrap_or(InputName::Socket) {
        InputName::Socket if raw.interface.is_empty() => Input::Sockets(SocketOptions {
            receive_buffer_bytes,
        }),
        InputName::Socket => {
            let what = "interface is for input packets: a socket takes what comes to its address";
            return Err(what.to_owned().into());
        }
        InputName::Packets if listen.iter().any(|listen| listen.port() == 0) => {
            let what =
                "listen has port 0, which is any that is free: input packets needs its number";
            return Err(what.to_owned().into());
        }
        InputName::Packets => Input::Packets {
            interfaces: raw.interface.clone(),
            ring_bytes,
        },
    };
    let listen = if listen.is_empty() {
        PORTS.map(wildcard).to_vec()
    } else {
        listen
    };
    if let Some(what) = listens_twice(&listen) {
        return Err(what.into());
    }
    Ok(Fixed {
        bound: listen.clone(),
        listen,
        input,
        source: match raw.source.unwrap_or(SourceName::Exporter) {
            SourceName::Exporter => Source::Exporter,
            SourceName::Own => Source::Own,
        },
        threads,
        http: raw.http,
    })
}

fn limits(raw: &Raw) -> Result<Limits, Wrong> {
    let default = Limits::default();
    let count = |name: &str, told: Option<usize>, default: usize| match told {
        Some(0) => Err(Wrong::from(format!("{name} is 0, but must be at least 1"))),
        told => Ok(told.unwrap_or(default)),
    };
    let template_bytes = match raw.max_template_size {
        None => default.template_bytes,
        Some(Size(size)) => usize::try_from(size).unwrap_or(usize::MAX),
    };
    Ok(Limits {
        exporters: count("max-exporters", raw.max_exporters, default.exporters)?,
        domains: count("max-domains", raw.max_domains, default.domains)?,
        domains_per_exporter: count(
            "max-domains-per-exporter",
            raw.max_domains_per_exporter,
            default.domains_per_exporter,
        )?,
        templates_per_domain: count(
            "max-templates-per-domain",
            raw.max_templates_per_domain,
            default.templates_per_domain,
        )?,
        template_bytes,
    })
}

/// The routes, and what is to be warned of.
fn routes(raw: &Raw) -> Result<(Config, Vec<String>), Wrong> {
    let mut warnings = Vec::new();
    let mut routes = Vec::new();
    let tables = &raw.route;
    if let (Some(first), false) = (tables.first(), raw.to.is_empty()) {
        return Err(Wrong {
            span: Some(first.span()),
            what: "to and [[route]] exclude each other: give the collectors by one of them"
                .to_owned(),
        });
    }
    if let (Some(first), false) = (tables.first(), raw.versions.is_empty()) {
        return Err(Wrong {
            span: Some(first.span()),
            what: "versions at the top is for to: each [[route]] has its own".to_owned(),
        });
    }
    for table in tables {
        routes.push(route(raw, table)?);
    }
    if !raw.to.is_empty() {
        let collectors = raw.to.iter().map(|to| Collector {
            address: to.0,
            weight: 1,
            probe: None,
        });
        let collectors: Vec<Collector> = collectors.collect();
        routes.push(Route {
            versions: versions(&raw.versions),
            shards: shards(raw.shards, &collectors).map_err(Wrong::from)?,
            collectors,
            hash: raw.hash.map_or(Hash::default(), Hash::from),
            down: down(raw.down),
            pins: Vec::new(),
            copies: Vec::new(),
        });
    }
    for route in &routes {
        warnings.extend(composite(route));
    }
    let config = Config {
        routes,
        default: raw.default.map(|default| default.0),
    };
    Ok((config, warnings))
}

fn route(raw: &Raw, table: &Spanned<RawRoute>) -> Result<Route, Wrong> {
    let wrong = |span, what: &str| Wrong {
        span: Some(span),
        what: what.to_owned(),
    };
    let span = table.span();
    let table = table.get_ref();
    let collectors = table.collectors.iter().map(|collector| {
        let collector = collector.get_ref();
        Collector {
            address: collector.address.0,
            weight: collector.weight.unwrap_or(1),
            probe: collector.probe.clone(),
        }
    });
    let collectors: Vec<Collector> = collectors.collect();
    let pins = table.pin.iter().map(|pin| Pin {
        exporters: pin.get_ref().exporter,
        collector: pin.get_ref().collector.0,
    });
    let copies = table.copy.iter().map(|copy| {
        let every = NonZero::new(copy.get_ref().every.unwrap_or(1));
        Ok(CopyTo {
            to: copy.get_ref().to.0,
            every: every.ok_or_else(|| wrong(copy.span(), "every is 0, but must be at least 1"))?,
        })
    });
    Ok(Route {
        versions: versions(&table.versions),
        shards: shards(table.shards.or(raw.shards), &collectors)
            .map_err(|what| wrong(span, &what))?,
        collectors,
        hash: table
            .hash
            .or(raw.hash)
            .map_or(Hash::default(), HashName::into),
        down: down(table.down.or(raw.down)),
        pins: pins.collect(),
        copies: copies.collect::<Result<_, Wrong>>()?,
    })
}

fn versions(told: &[u8]) -> Vec<u8> {
    if told.is_empty() {
        VERSIONS.to_vec()
    } else {
        told.to_vec()
    }
}

fn shards(told: Option<u32>, collectors: &[Collector]) -> Result<NonZero<u32>, String> {
    match told {
        None => Ok(default_shards(collectors)),
        Some(shards) => {
            NonZero::new(shards).ok_or_else(|| "shards is 0, but must be at least 1".to_owned())
        }
    }
}

fn down(told: Option<DownName>) -> Down {
    match told {
        None | Some(DownName::Hold) => Down::Hold,
        Some(DownName::Spread) => Down::Spread,
        Some(DownName::Spool) => Down::Spool,
    }
}

/// Hosts numbered in steps that share a factor with the number of shards meet on a part of them.
fn composite(route: &Route) -> Option<String> {
    let shards = route.shards.get();
    if route.hash != Hash::Address || shards == 1 || is_prime(shards) {
        return None;
    }
    let prime = smallest_prime_from(shards);
    Some(format!(
        "shards is {shards}, which is no prime: exporters numbered in steps that share a factor with it fall into a \
         part of the shards only; {prime} is the next prime, or take hash xxh3"
    ))
}

/// What to do where nobody names a collector.
fn no_route(raw: &Raw) -> String {
    let what = "there is no route: name the collectors";
    match &raw.config {
        Some(path) => format!(
            "{}: {what} by to or [[route]] there, or by --to ADDR:PORT",
            path.display()
        ),
        None => format!("{what} by --to ADDR:PORT, or by [[route]] in a file that --config names"),
    }
}

fn refuse_loops(raw: &Raw, fixed: &Fixed, config: &Config, routing: &Routing) -> Result<(), Wrong> {
    match first_loop(fixed, routing) {
        None => Ok(()),
        Some((address, what)) => Err(Wrong {
            span: part_of(config, address).and_then(|part| span(raw, part)),
            what,
        }),
    }
}

/// What comes back to where it is listened would go round for ever.
fn first_loop(fixed: &Fixed, routing: &Routing) -> Option<(SocketAddr, String)> {
    let listen = fixed.loops_by();
    routing.addresses().find_map(|address| {
        let listen = looped(&listen, address)?;
        let what = format!(
            "a loop: {address} is this router's own {listen}; give the collector another port or address"
        );
        Some((address, what))
    })
}

/// Rings leave out what is sent to collectors, also where exporters send it there.
fn left_out(fixed: &Fixed, routing: &Routing) -> Vec<String> {
    if matches!(fixed.input, Input::Sockets(_)) {
        return Vec::new();
    }
    let own = routing
        .addresses()
        .filter(|address| looped(&fixed.listen, *address).is_some());
    own.map(|address| {
        format!(
            "{address} is an address of this machine, on a port whose packets are taken: what exporters send to it is \
             left out, for it goes there already"
        )
    })
    .collect()
}

/// Where an address stands in the routes.
fn part_of(config: &Config, address: SocketAddr) -> Option<Part> {
    let routes = config.routes.iter().enumerate();
    routes.into_iter().find_map(|(index, route)| {
        let collector = route
            .collectors
            .iter()
            .position(|collector| collector.address == address)
            .map(|collector| Part::Collector(index, collector));
        let copy = route.copies.iter().position(|copy| copy.to == address);
        collector.or(copy.map(|copy| Part::Copy(index, copy)))
    })
}

/// Where a part stands in the file.
fn span(raw: &Raw, part: Part) -> Option<Range<usize>> {
    let route = |index: usize| raw.route.get(index);
    match part {
        Part::Whole => None,
        Part::Route(index) => Some(route(index)?.span()),
        Part::Collector(index, number) => {
            Some(route(index)?.get_ref().collectors.get(number)?.span())
        }
        Part::Pin(index, number) => Some(route(index)?.get_ref().pin.get(number)?.span()),
        Part::Copy(index, number) => Some(route(index)?.get_ref().copy.get(number)?.span()),
    }
}

#[cfg(test)]
mod tests;
