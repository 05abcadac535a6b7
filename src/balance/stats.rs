//! What a running router or collector has received of each exporter: its `/stats`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use forebay_router::balance::{Counter, Load};
use serde::Deserialize;

use crate::outcome::{WrongUsage, tell};
use crate::progress::thousands;

/// How long asking may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most that an answer may be: some hundred bytes for each of as many exporters as are kept.
const BYTES_MAX: u64 = 256 << 20;

/// Whether an input is a status address.
pub(super) fn is_url(input: &str) -> bool {
    input.starts_with("http://") || input.starts_with("https://")
}

/// Whose status it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Router,
    Collector,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Router => "router",
            Self::Collector => "collector",
        })
    }
}

/// The answer of either.
#[derive(Debug, Deserialize)]
struct Stats {
    /// A router's.
    exporters: Option<Vec<RoutedFrom>>,
    /// A router's: those that it has no room for.
    other_exporters: Option<Others>,
    /// A collector's: an exporter is there once for each version and observation domain.
    domains: Option<Vec<CollectedFrom>>,
}

#[derive(Debug, Deserialize)]
struct Others {
    evicted: u64,
}

/// A router does not look at records.
#[derive(Debug, Deserialize)]
struct RoutedFrom {
    exporter: IpAddr,
    datagrams: u64,
    bytes: u64,
    rejected: u64,
    rejected_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct CollectedFrom {
    exporter: IpAddr,
    export_version: u8,
    datagrams: u64,
    octets: u64,
    records: u64,
}

impl RoutedFrom {
    /// What a router rejected is no collector's to take.
    fn load(&self) -> Load {
        Load {
            datagrams: self.datagrams.saturating_sub(self.rejected),
            records: 0,
            bytes: self.bytes.saturating_sub(self.rejected_bytes),
        }
    }
}

impl CollectedFrom {
    fn load(&self) -> Load {
        Load {
            datagrams: self.datagrams,
            records: self.records,
            bytes: self.octets,
        }
    }
}

/// Counts what was received of each exporter since the start. A router does not tell an exporter's versions apart: all of
/// them count, which is told where some were asked for.
///
/// # Errors
/// Nothing answers at `url`, or something else does.
pub(super) fn read(url: &str, versions: &[u8], counter: &mut Counter<'_>) -> Result<Origin> {
    let url = with_path(url)?;
    let answer = get(&url, TIMEOUT)?;
    let stats: Stats = serde_json::from_slice(&answer)
        .with_context(|| format!("{url} does not answer as a router or collector does"))?;
    match (stats.exporters, stats.domains) {
        (Some(exporters), None) => {
            if ![5, 9, 10].iter().all(|version| versions.contains(version)) {
                tell(&format!(
                    "{url} does not tell versions apart by exporter: all of them count; a capture tells them apart"
                ));
            }
            let evicted = stats.other_exporters.map_or(0, |others| others.evicted);
            if evicted > 0 {
                tell(&format!(
                    "{url} had no room for all exporters, and forgot {} that were silent: what they sent is left out",
                    thousands(evicted)
                ));
            }
            for of in exporters {
                counter.add(of.exporter, None, &of.load());
            }
            Ok(Origin::Router)
        }
        (None, Some(domains)) => {
            for of in domains {
                if versions.contains(&of.export_version) {
                    counter.add(of.exporter, None, &of.load());
                }
            }
            Ok(Origin::Collector)
        }
        _ => bail!(
            "{url} does not answer as a router or collector does: it should have a router's \"exporters\" or a \
             collector's \"domains\""
        ),
    }
}

/// `/stats`, unless another page is named.
fn with_path(url: &str) -> Result<String> {
    let Some(rest) = url.strip_prefix("http://") else {
        let what = format!("{url}: the status endpoint has no TLS: write http://");
        return Err(WrongUsage(what).into());
    };
    Ok(match rest.split_once('/') {
        None => format!("{url}/stats"),
        Some((_, "")) => format!("{url}stats"),
        Some(_) => url.to_owned(),
    })
}

/// Asks for a page; what goes wrong says what to look at.
fn get(url: &str, timeout: Duration) -> Result<Vec<u8>> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        // It is asked directly: its address means nothing elsewhere.
        .proxy(None)
        .max_redirects(0)
        .build();
    let ask = || -> Result<Vec<u8>, ureq::Error> {
        let mut response = ureq::Agent::new_with_config(config).get(url).call()?;
        let body = response.body_mut().with_config().limit(BYTES_MAX);
        body.read_to_vec()
    };
    ask().map_err(|error| match error {
        ureq::Error::StatusCode(status) => {
            anyhow!("{url} answers with status {status}: is it the --http address of a router or collector?")
        }
        ureq::Error::Timeout(_) => anyhow!(
            "{url} did not answer within {} s: is it the --http address of a router or collector?",
            timeout.as_secs_f64()
        ),
        ureq::Error::BodyExceedsLimit(_) => anyhow!(
            "{url} answers with more than {} MiB: is it the --http address of a router or collector?",
            BYTES_MAX >> 20
        ),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            WrongUsage(format!("\"{url}\" is no status address: write it as http://127.0.0.1:9180"))
                .into()
        }
        error => anyhow!("cannot ask {url}: {error}: is a router or collector running with --http?"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::num::NonZero;
    use std::thread;

    use forebay_router::Hash;
    use forebay_router::balance::{Balance, Setup, Split};

    use super::*;

    /// Answers one request with this.
    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let request = lines.next().expect("a request").expect("text");
            assert!(request.starts_with("GET /stats "), "{request}");
            lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            stream.write_all(answer.as_bytes()).expect("sent");
        });
        format!("http://{address}")
    }

    fn balance(url: &str) -> Result<Balance> {
        let mut counter = Counter::new(Setup {
            splits: vec![Split {
                shards: NonZero::<u32>::MIN,
                hash: Hash::Address,
            }],
            weights: Vec::new(),
            pinned: &|_| None,
            exporters_max: 10,
        });
        read(url, &[9], &mut counter).map(drop)?;
        Ok(counter.finish(None))
    }

    #[test]
    fn what_a_collector_received_is_added_up_by_exporter() {
        let url = serve(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
             {\"total\": {}, \"domains\": [\
             {\"exporter\": \"192.0.2.1\", \"export_version\": 9, \"datagrams\": 2, \"octets\": 70, \"records\": 5},\
             {\"exporter\": \"192.0.2.1\", \"export_version\": 9, \"datagrams\": 1, \"octets\": 30, \"records\": 2},\
             {\"exporter\": \"192.0.2.1\", \"export_version\": 5, \"datagrams\": 9, \"octets\": 90, \"records\": 9},\
             {\"exporter\": \"::ffff:192.0.2.2\", \"export_version\": 9, \"datagrams\": 1, \"octets\": 1, \"records\": 1}]}",
        );
        let balance = balance(&url).expect("an answer");
        assert_eq!(balance.exporters.len(), 2);
        let first = balance.exporters[0].load;
        assert_eq!([first.datagrams, first.records, first.bytes], [3, 7, 100]);
        assert_eq!(balance.total.records, 8);
    }

    #[test]
    fn what_a_router_rejected_is_no_load_and_who_sent_nothing_else_no_exporter() {
        let url = serve(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
             {\"exporters\": [\
             {\"exporter\": \"192.0.2.1\", \"datagrams\": 9, \"bytes\": 90, \"rejected\": 2, \"rejected_bytes\": 50},\
             {\"exporter\": \"192.0.2.2\", \"datagrams\": 3, \"bytes\": 15, \"rejected\": 3, \"rejected_bytes\": 15}]}",
        );
        let balance = balance(&url).expect("an answer");
        assert_eq!([balance.total.datagrams, balance.total.bytes], [7, 40]);
        assert_eq!(balance.exporters.len(), 1);
    }

    #[test]
    fn who_answers_otherwise_is_told() {
        let url = serve("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        let error = balance(&url).expect_err("no stats").to_string();
        assert!(error.contains("status 404"), "{error}");
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42",
            "HTTP/1.1 200 OK\r\ncontent-length: 31\r\n\r\n{\"domains\": [], \"exporters\": []}",
            "HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n{\"exporters\": [{\"exporter\": \"a\"}]}",
        ] {
            let url = serve(answer);
            let error = balance(&url).expect_err("no stats").to_string();
            assert!(
                error.contains("does not answer as a router or collector does"),
                "{error}"
            );
        }
        // A port that was free a moment ago.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let error = balance(&url).expect_err("nobody").to_string();
        assert!(error.contains("--http"), "{error}");
    }

    #[test]
    fn who_does_not_answer_is_named_with_the_time_that_it_had() {
        // The kernel takes the connection; nobody does more.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/stats", listener.local_addr().expect("bound"));
        let error = get(&url, Duration::from_millis(500))
            .expect_err("silence")
            .to_string();
        let expected = format!("{url} did not answer within 0.5 s: ");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn the_page_is_stats_unless_another_is_named() {
        for (url, page) in [
            ("http://h:1", "http://h:1/stats"),
            ("http://h:1/", "http://h:1/stats"),
            ("http://h:1/proxied/stats", "http://h:1/proxied/stats"),
        ] {
            assert_eq!(with_path(url).expect("a page"), page);
        }
        let error = with_path("https://h:1").expect_err("TLS");
        assert!(error.is::<WrongUsage>(), "{error}");
    }
}
