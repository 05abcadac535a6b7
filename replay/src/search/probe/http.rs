//! `/stats` of a running collector or router.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Count, Counted, ProbeError, Reading};

/// How often it is looked whether to stop.
const TURN: Duration = Duration::from_millis(20);

/// The most that an answer may be: some hundred bytes for each of a quarter million exporters.
const BYTES_MAX: u64 = 256 << 20;

/// Where a collector's counts are.
const COLLECTOR: [(&str, Counted); 3] = [
    ("/total/records", Counted::ReceivedRecords),
    ("/files/flows_stored", Counted::StoredRecords),
    ("/total/kernel_drops", Counted::DroppedDatagrams),
];

/// Where a router's are, which does not look at records.
const ROUTER: [(&str, Counted); 3] = [
    ("/total/received/datagrams", Counted::ReceivedDatagrams),
    ("/total/forwarded/datagrams", Counted::ForwardedDatagrams),
    ("/total/kernel_drops", Counted::DroppedDatagrams),
];

/// `/stats`, unless another page is named.
pub(super) fn with_path(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    match rest.split_once('/') {
        None => format!("http://{rest}/stats"),
        Some((_, "")) => format!("http://{rest}stats"),
        Some(_) => format!("http://{rest}"),
    }
}

pub(super) fn read(url: &str, limit: Duration, stop: &AtomicBool) -> Result<Reading, ProbeError> {
    let answer = get_until(url, limit, stop).ok_or(ProbeError::Interrupted)?;
    let answer = answer.map_err(|source| ProbeError::Http {
        url: url.to_owned(),
        source: Box::new(source),
    })?;
    // What is no JSON has no number anywhere.
    let stats: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let is_router = stats.pointer("/total/received").is_some();
    let places = if is_router { ROUTER } else { COLLECTOR };
    let counts = places.iter().map(|&(missing, of)| {
        let count = stats.pointer(missing).and_then(Value::as_u64);
        let url = || url.to_owned();
        let count = count.ok_or_else(|| ProbeError::NoStats {
            url: url(),
            missing,
        })?;
        Ok(Count { of, count })
    });
    Ok(Reading {
        counts: counts.collect::<Result<_, _>>()?,
        waiting_bytes: None,
    })
}

/// Asks on a thread of its own, so that an interrupt does not wait for the answer: `None` then.
fn get_until(
    url: &str,
    limit: Duration,
    stop: &AtomicBool,
) -> Option<Result<Vec<u8>, ureq::Error>> {
    let (tell, told) = mpsc::channel();
    let asked = url.to_owned();
    let run = move || {
        let _nobody_waits = tell.send(get(&asked, limit));
    };
    if let Err(error) = thread::Builder::new().spawn(run) {
        return Some(Err(error.into()));
    }
    loop {
        match told.recv_timeout(TURN) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
            Err(_) => return None,
        }
    }
}

fn get(url: &str, limit: Duration) -> Result<Vec<u8>, ureq::Error> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
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

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    static GO_ON: AtomicBool = AtomicBool::new(false);

    /// Answers one request with this body, or not at all.
    fn serve(body: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            if let Some(body) = body {
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                write!(stream, "{head}{body}").expect("sent");
            } else {
                // Until the client has had enough.
                lines.next();
            }
        });
        with_path(&address.to_string())
    }

    fn counts(body: &'static str) -> Vec<(Counted, u64)> {
        let reading = read(&serve(Some(body)), LIMIT, &GO_ON).expect("counts");
        let counts = reading.counts.iter();
        counts.map(|count| (count.of, count.count)).collect()
    }

    #[test]
    fn a_collector_and_a_router_are_told_apart() {
        let collector =
            r#"{"total": {"records": 7, "kernel_drops": 2}, "files": {"flows_stored": 5}}"#;
        assert_eq!(
            counts(collector),
            [
                (Counted::ReceivedRecords, 7),
                (Counted::StoredRecords, 5),
                (Counted::DroppedDatagrams, 2)
            ]
        );
        let router = r#"{"total": {"received": {"datagrams": 9}, "forwarded": {"datagrams": 8}, "kernel_drops": 1}}"#;
        assert_eq!(
            counts(router),
            [
                (Counted::ReceivedDatagrams, 9),
                (Counted::ForwardedDatagrams, 8),
                (Counted::DroppedDatagrams, 1)
            ]
        );
    }

    #[test]
    fn who_answers_otherwise_or_not_is_told() {
        let error = read(&serve(Some("hello")), LIMIT, &GO_ON).expect_err("no stats");
        assert!(error.to_string().contains("/total/records"), "{error}");
        let error = read(&serve(None), Duration::from_millis(50), &GO_ON).expect_err("it hangs");
        assert!(error.to_string().contains("timeout"), "{error}");
        // A port that was free a moment ago.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = with_path(&listener.local_addr().expect("bound").to_string());
        drop(listener);
        let error = read(&url, LIMIT, &GO_ON).expect_err("nobody").to_string();
        assert!(error.contains(&url) && error.contains("--http"), "{error}");
    }

    #[test]
    fn an_interrupt_does_not_wait_for_an_answer() {
        let error = read(&serve(None), LIMIT, &AtomicBool::new(true)).expect_err("interrupted");
        assert!(matches!(error, ProbeError::Interrupted), "{error}");
    }

    #[test]
    fn the_page_is_stats_unless_another_is_named() {
        for (url, page) in [
            ("h:1", "http://h:1/stats"),
            ("http://h:1", "http://h:1/stats"),
            ("http://h:1/", "http://h:1/stats"),
            ("http://h:1/proxied/stats", "http://h:1/proxied/stats"),
        ] {
            assert_eq!(with_path(url), page);
        }
    }
}
