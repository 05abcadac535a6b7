//! What a running router or collector has received of each exporter: its `/stats`.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use forebay_router::balance::{Counter, Load};
use serde::Deserialize;

use crate::outcome::{WrongUsage, tell};

/// How long asking may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most that an answer may be: some hundred bytes for each of as many exporters as are kept.
const BYTES_MAX: u64 = 256 << 20;

/// Whether an input is a status address.
pub(super) fn is_url(input: &str) -> bool {
    input.starts_with("http://") || input.starts_with("https://")
}

/// What the answers of a router and of a collector have in common.
#[derive(Debug, Deserialize)]
struct Stats {
    /// A collector's: an exporter is there once for each version and observation domain.
    #[serde(default)]
    domains: Vec<Received>,
    /// A router's.
    #[serde(default)]
    exporters: Vec<Received>,
}

#[derive(Debug, Deserialize)]
struct Received {
    exporter: IpAddr,
    #[serde(default)]
    export_version: Option<u8>,
    datagrams: u64,
    #[serde(default)]
    rejected: u64,
    /// A router does not look at records.
    #[serde(default)]
    records: u64,
    #[serde(default, alias = "bytes")]
    octets: u64,
}

/// Counts what was received of each exporter since the start. A router does not tell an exporter's versions apart: all of
/// them count, which is told where some were asked for.
///
/// # Errors
/// Nothing answers at `url`, or something else does.
pub(super) fn read(url: &str, versions: &[u8], counter: &mut Counter<'_>) -> Result<()> {
    let url = with_path(url)?;
    let answer = get(&url).map_err(|error| match error {
        ureq::Error::StatusCode(status) => {
            anyhow!("{url} answers with status {status}: is it the --http address of a router or collector?")
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            WrongUsage(format!("\"{url}\" is no status address: write it as http://127.0.0.1:9180"))
                .into()
        }
        error => anyhow!("cannot ask {url}: {error}: is a router or collector running with --http?"),
    })?;
    let stats: Stats = serde_json::from_slice(&answer)
        .with_context(|| format!("{url} does not answer as a router or collector does"))?;
    if let Some(note) = all_count(&stats, versions) {
        tell(&format!("{url} {note}"));
    }
    for received in stats.domains.iter().chain(&stats.exporters) {
        let version = received.export_version;
        if version.is_some_and(|version| !versions.contains(&version)) {
            continue;
        }
        let load = Load {
            // What a router rejected is no collector's to take. Its bytes are not known apart.
            datagrams: received.datagrams.saturating_sub(received.rejected),
            records: received.records,
            bytes: received.octets,
        };
        counter.add(received.exporter, None, &load);
    }
    Ok(())
}

/// What to say where only some versions were asked for, and all count.
fn all_count(stats: &Stats, versions: &[u8]) -> Option<&'static str> {
    let apart = |received: &Received| received.export_version.is_some();
    let asked_for_all = [5, 9, 10].iter().all(|version| versions.contains(version));
    let told = asked_for_all || stats.exporters.iter().all(apart);
    (!told).then_some(
        "does not tell versions apart by exporter: all of them count; a capture tells them apart",
    )
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

fn get(url: &str) -> Result<Vec<u8>, ureq::Error> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        // It is asked directly: its address means nothing elsewhere.
        .proxy(None)
        .max_redirects(0)
        .build();
    let mut response = ureq::Agent::new_with_config(config).get(url).call()?;
    response
        .body_mut()
        .with_config()
        .limit(BYTES_MAX)
        .read_to_vec()
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
        read(url, &[9], &mut counter)?;
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
    fn what_a_router_received_counts_whatever_its_version_which_is_told() {
        let stats = r#"{"exporters": [
            {"exporter": "192.0.2.1", "datagrams": 9, "bytes": 90, "messages": 7, "rejected": 2, "failed": 0}]}"#;
        let stats: Stats = serde_json::from_str(stats).expect("JSON");
        assert!(all_count(&stats, &[9]).is_some());
        assert!(all_count(&stats, &[5, 9, 10]).is_none());
        let url = serve(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\
             {\"exporters\": [{\"exporter\": \"192.0.2.1\", \"datagrams\": 9, \"bytes\": 90, \"rejected\": 2}]}",
        );
        let balance = balance(&url).expect("an answer");
        assert_eq!(balance.total.datagrams, 7);
    }

    #[test]
    fn who_answers_otherwise_is_told() {
        let url = serve("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        let error = balance(&url).expect_err("no stats").to_string();
        assert!(error.contains("status 404"), "{error}");
        let url = serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let error = balance(&url).expect_err("no stats").to_string();
        assert!(error.contains("does not answer as a router"), "{error}");
        // A port that was free a moment ago.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let error = balance(&url).expect_err("nobody").to_string();
        assert!(error.contains("--http"), "{error}");
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
