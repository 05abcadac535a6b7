use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::*;
use crate::config::{Collector, CopyTo, Pin, default_shards};

pub(crate) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], 2055))
}

/// A route of collectors 203.0.113.1 and on, with these weights.
pub(crate) fn route(weights: &[u32]) -> Route {
    let collectors = weights.iter().zip(1..).map(|(weight, host)| Collector {
        address: address(host),
        weight: *weight,
        probe: None,
    });
    let collectors: Vec<Collector> = collectors.collect();
    Route {
        versions: vec![5, 9, 10],
        shards: default_shards(&collectors),
        collectors,
        hash: Hash::Address,
        down: Down::Hold,
        pins: Vec::new(),
        copies: Vec::new(),
    }
}

fn config(routes: Vec<Route>) -> Config {
    Config {
        routes,
        default: None,
    }
}

fn problem(config: &Config) -> (Part, String) {
    let error = Routing::new(config, None).expect_err("no such configuration");
    (error.part, error.to_string())
}

#[test]
fn an_exporter_goes_where_the_table_says() {
    // 10.0.0.1 is 167,772,161: the remainder by 7 is 4, by 3 it is 2.
    for (shards, collector) in [(7, 2), (3, 3)] {
        let route = Route {
            shards: NonZero::new(shards).unwrap(),
            ..route(&[1, 1, 1])
        };
        let routing = Routing::new(&config(vec![route]), None).unwrap();
        for exporter in ["10.0.0.1", "::ffff:10.0.0.1"] {
            let found = routing.collector_of(9, exporter.parse().unwrap());
            assert_eq!(found, Some(address(collector)), "{shards}");
        }
        assert_eq!(routing.collector_of(7, [10, 0, 0, 1].into()), None);
        assert_eq!(routing.collector_of(u16::MAX, [10, 0, 0, 1].into()), None);
    }
}

#[test]
fn a_version_has_the_route_that_takes_it() {
    let first = Route {
        versions: vec![5],
        ..route(&[1])
    };
    let mut second = Route {
        versions: vec![9, 10],
        ..route(&[1])
    };
    second.collectors[0].address = address(9);
    let routing = Routing::new(&config(vec![first, second]), None).unwrap();
    for (version, host) in [(5, 1), (9, 9), (10, 9)] {
        let found = routing.collector_of(version, [10, 0, 0, 1].into());
        assert_eq!(found, Some(address(host)));
    }
}

#[test]
fn pins_win_over_the_hash() {
    let mut route = route(&[1, 1, 1, 0]);
    route.pins = vec![
        Pin {
            exporters: "10.0.0.0/8".parse().unwrap(),
            collector: address(4),
        },
        Pin {
            exporters: "10.0.0.1".parse().unwrap(),
            collector: address(2),
        },
    ];
    let routing = Routing::new(&config(vec![route]), None).unwrap();
    for (exporter, host) in [([10, 0, 0, 1], 2), ([10, 0, 0, 2], 4)] {
        let found = routing.collector_of(5, exporter.into());
        assert_eq!(found, Some(address(host)));
    }
    // A weight of 0 gets nothing else.
    for host in 0..=255 {
        let found = routing.collector_of(5, [11, 0, 0, host].into());
        assert_ne!(found, Some(address(4)));
    }
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    let change = |change: fn(&mut Route)| {
        let mut route = route(&[1, 1]);
        change(&mut route);
        config(vec![route])
    };
    for (config, part, what) in [
        (config(Vec::new()), Part::Whole, "there is no route"),
        (change(|r| r.versions.clear()), Part::Route(0), "no version"),
        (change(|r| r.versions.push(8)), Part::Route(0), "8 is none"),
        (
            change(|r| r.versions.push(9)),
            Part::Route(0),
            "version 9 has two routes",
        ),
        (
            change(|r| r.collectors.clear()),
            Part::Route(0),
            "no collector",
        ),
        (
            change(|r| r.collectors[1].address = address(1)),
            Part::Collector(0, 1),
            "203.0.113.1:2055 is there twice",
        ),
        (
            change(|r| r.collectors[1].weight = 1_001),
            Part::Collector(0, 1),
            "has weight 1001",
        ),
        (
            change(|r| r.collectors[0].address = "0.0.0.0:2055".parse().unwrap()),
            Part::Collector(0, 0),
            "nothing can be sent to 0.0.0.0:2055",
        ),
        (
            change(|r| r.collectors[0].address = "255.255.255.255:2055".parse().unwrap()),
            Part::Collector(0, 0),
            "nothing can be sent to 255.255.255.255:2055",
        ),
        (
            change(|r| r.collectors[0].address.set_port(0)),
            Part::Collector(0, 0),
            "nothing can be sent to",
        ),
        (
            change(|r| r.shards = NonZero::<u32>::MIN),
            Part::Route(0),
            "of 1 shards none falls to collector 2",
        ),
        (
            change(|r| {
                r.pins.push(Pin {
                    exporters: "10.0.0.0/8".parse().unwrap(),
                    collector: "203.0.113.2:2056".parse().unwrap(),
                });
            }),
            Part::Pin(0, 0),
            "10.0.0.0/8 is pinned to 203.0.113.2:2056, which is no collector of the route: did you mean \
             203.0.113.2:2055?",
        ),
        (
            change(|r| {
                let pin = Pin {
                    exporters: "10.0.0.1".parse().unwrap(),
                    collector: address(1),
                };
                r.pins = vec![pin, pin];
            }),
            Part::Pin(0, 1),
            "10.0.0.1 is pinned twice",
        ),
        (
            change(|r| {
                let every = NonZero::<u32>::MIN;
                r.copies.push(CopyTo {
                    to: address(2),
                    every,
                });
            }),
            Part::Copy(0, 0),
            "a copy would come twice",
        ),
    ] {
        let (found, text) = problem(&config);
        assert_eq!(found, part, "{text}");
        assert!(text.contains(what), "{text}");
    }
    let both = config(vec![route(&[1]), route(&[1])]);
    assert_eq!(problem(&both).0, Part::Route(1));
}

#[test]
fn shards_of_a_collector_that_is_down_go_to_the_others_by_weight() {
    let route = Route {
        down: Down::Spread,
        shards: NonZero::new(101).unwrap(),
        ..route(&[1, 1, 2, 0])
    };
    let routing = Routing::new(&config(vec![route]), None).unwrap();
    let route = &routing.routes[0];
    let shares = |down: &[usize]| {
        let mut shares = BTreeMap::new();
        for target in route.targets(|target| !down.contains(&target)) {
            *shares.entry(target).or_insert(0) += 1;
        }
        shares
    };
    assert_eq!(shares(&[]), [(0, 25), (1, 25), (2, 51)].into());
    // 25 to 1 and 2 as 1 to 2.
    assert_eq!(shares(&[0]), [(1, 25 + 8), (2, 51 + 17)].into());
    assert_eq!(shares(&[0, 2]), [(1, 101)].into());
    // The one without weight only where no other is left.
    assert_eq!(shares(&[0, 1, 2]), [(3, 101)].into());
    // Nobody is left: everything stays.
    assert_eq!(shares(&[0, 1, 2, 3]), shares(&[]));
    // The others' shards stay where they are.
    let (all, spread) = (route.targets(|_| true), route.targets(|target| target != 0));
    for (before, after) in all.iter().zip(&spread) {
        assert!(before == after || *before == 0);
    }
}

#[test]
fn heavy_collectors_take_over_by_weight_too() {
    // The weights of those that are left add up to more than there may be shards.
    let weights = [&[1_000; 66][..], &[0, 500, 999]].concat();
    let route = Route {
        down: Down::Spread,
        ..route(&weights)
    };
    let routing = Routing::new(&config(vec![route]), None).unwrap();
    let targets = routing.routes[0].targets(|target| target != 68);
    let share = |of: usize| targets.iter().filter(|target| **target == of).count();
    assert_eq!((share(66), share(68)), (0, 0));
    let (light, heavy) = (share(67) as f64, share(0) as f64);
    assert!((heavy / light - 2.0).abs() < 0.02, "{heavy} {light}");
}

#[test]
fn with_fewer_shards_than_others_each_shard_goes_somewhere() {
    for down in 0..7 {
        let route = Route {
            down: Down::Spread,
            ..route(&[1; 7])
        };
        let routing = Routing::new(&config(vec![route]), None).unwrap();
        let targets = routing.routes[0].targets(|target| target != down);
        assert!(!targets.contains(&down));
    }
}

#[test]
fn a_new_configuration_keeps_what_is_known_of_collectors_that_stay() {
    let before = Routing::new(&config(vec![route(&[1, 1])]), None).unwrap();
    before.targets[0].set(false, false);
    let after = Routing::new(&config(vec![route(&[1, 1, 1])]), Some(&before)).unwrap();
    assert_eq!(after.targets[0].seen(), before.targets[0].seen());
    assert!(!after.targets[0].seen().up);
    let incarnations: Vec<u64> = after
        .targets
        .iter()
        .map(|of| of.seen().incarnation)
        .collect();
    assert!(incarnations.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn coming_back_is_another_incarnation() {
    let routing = Routing::new(&config(vec![route(&[1])]), None).unwrap();
    let target = &routing.targets[0];
    let first = target.seen().incarnation;
    assert_eq!(target.set(true, false), None);
    assert_eq!(target.set(false, false), Some("is down"));
    assert_eq!(target.seen().incarnation, first);
    assert_eq!(target.set(true, false), Some("is back"));
    let second = target.seen().incarnation;
    assert_ne!(second, first);
    assert_eq!(target.set(true, true), Some("was started anew"));
    assert_ne!(target.seen().incarnation, second);
}

#[test]
fn neighbours_spread_over_a_prime() {
    let route = Route {
        shards: NonZero::new(7).unwrap(),
        ..route(&[1; 7])
    };
    let routing = Routing::new(&config(vec![route]), None).unwrap();
    let mut counts: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    for number in 0..700 {
        let exporter = Ipv4Addr::from_bits(0x0a00_0001 + 2 * number);
        let collector = routing.collector_of(9, exporter.into()).unwrap();
        *counts.entry(collector).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 100), "{counts:?}");
}

#[test]
fn a_pinned_exporter_goes_elsewhere_only_where_that_is_asked_for() {
    for (down, moves) in [
        (Down::Hold, false),
        (Down::Spread, true),
        (Down::Spool, false),
    ] {
        let mut route = Route {
            down,
            ..route(&[1, 1, 1])
        };
        route.pins = vec![Pin {
            exporters: "10.0.0.0/8".parse().unwrap(),
            collector: address(3),
        }];
        let routing = Routing::new(&config(vec![route]), None).unwrap();
        let mut view = View::new(&routing);
        let place = routing.place(9, [10, 0, 0, 1].into()).unwrap();
        let target = |view: &View| view.target(&routing.routes[0], place);
        assert_eq!(target(&view), 2);
        assert!(!view.refresh(&routing));
        routing.targets[2].set(false, false);
        assert!(view.refresh(&routing));
        assert_eq!(target(&view) != 2, moves, "{down:?}");
        // It comes back to where it is pinned to.
        routing.targets[2].set(true, false);
        assert!(view.refresh(&routing));
        assert_eq!(target(&view), 2);
    }
}
