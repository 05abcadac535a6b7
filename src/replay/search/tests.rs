use std::path::Path;

use forebay_replay::search::{Grown, ProbeError, SoFar};

use super::*;

/// The results of a search against a collector that takes so many flows a second.
fn searched(limit: f64, fail_at: Option<usize>) -> Results {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stored");
    std::fs::write(&file, "0").expect("written");
    let command = format!("cat {}", file.display());
    let mut instruments = Instruments {
        probes: vec![Probe::command(&command, Duration::from_secs(60))],
        process: Some(Process::new(std::process::id()).expect("it runs")),
        settle: Duration::ZERO,
    };
    let settings = Settings {
        first: 1_000_000.0,
        highest: None,
        precision: 0.02,
        confirm: 3,
    };
    let (mut stored, mut steps) = (0, 0);
    let mut send = |rate: f64| {
        steps += 1;
        stored += rate.min(limit) as u64;
        let text = if Some(steps) == fail_at {
            "<b>none</b>".to_owned()
        } else {
            stored.to_string()
        };
        std::fs::write(&file, text).expect("written");
        Sent {
            datagrams: rate as u64 / 25,
            flows: rate as u64,
            bytes: rate as u64 * 55,
            seconds: 1.0,
            errors: 0,
            latest_us: 0.0,
        }
    };
    let stop = AtomicBool::new(false);
    search(settings, &mut instruments, &mut send, &mut |_| (), &stop)
}

fn with_told<T>(results: &Results, tell: impl FnOnce(&Told<'_>) -> T) -> T {
    let subject = Subject {
        recording: Path::new("a & b.pcap"),
        target: "127.0.0.1:2055".parse().expect("an address"),
    };
    tell(&Told {
        subject: &subject,
        datagrams: 1_000,
        flows: 25_000,
        settings: Settings {
            first: 1_000_000.0,
            highest: None,
            precision: 0.02,
            confirm: 3,
        },
        step: Duration::from_secs(10),
        settle: Duration::from_secs(3),
        probes: vec!["kernel:2055".to_owned()],
        pid: Some(7),
        conditions: Conditions::now(),
        results,
    })
}

#[test]
fn probes_are_written_as_they_are_meant() {
    for (text, probe) in [
        ("kernel:2055", ProbeFlag::Kernel(2055)),
        ("http:http://h:9180", ProbeFlag::Http("h:9180".to_owned())),
        (
            "http://h:9180/stats",
            ProbeFlag::Http("h:9180/stats".to_owned()),
        ),
        ("http:h:9180", ProbeFlag::Http("h:9180".to_owned())),
        (
            "command:echo a:b",
            ProbeFlag::Command("echo a:b".to_owned()),
        ),
    ] {
        assert_eq!(text.parse(), Ok(probe), "{text}");
    }
    for (text, what) in [
        ("", "is no probe"),
        ("kernel", "is no probe"),
        ("kernel:", "is no port"),
        ("kernel:0", "is no port"),
        ("kernel:65536", "is no port"),
        ("command: ", "is no probe"),
        ("https://h:1", "no TLS"),
        ("tcp:1", "is no probe"),
    ] {
        let error = text.parse::<ProbeFlag>().expect_err(text);
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn the_result_is_told_with_the_next_that_did_not_hold() {
    let results = searched(3_000_000.0, None);
    assert_eq!(outcome(&results), Outcome::Done);
    let sentences = with_told(&results, words::sentences);
    assert!(
        sentences[0].starts_with("highest lossless rate: 2,9")
            && sentences[0].contains("held 3 of 3 times; the next that did not: 3,0")
            && sentences[0].ends_with("not held 2 of 2 times"),
        "{sentences:?}"
    );
    assert!(
        sentences[1].starts_with("at that rate: 11")
            && sentences[1].contains("CPU seconds per million flows"),
        "{sentences:?}"
    );
}

#[test]
fn a_problem_leaves_what_was_measured_and_fails() {
    let results = searched(3_000_000.0, Some(3));
    assert_eq!(outcome(&results), Outcome::Failed);
    let sentences = with_told(&results, words::sentences);
    let expected =
        "no result yet after 2 steps: the highest that held: 2,000,000 flows/s, held 1 of 1 time";
    assert_eq!(sentences, [expected]);
    let text = with_told(&results, json::text);
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(object["result"].is_null());
    assert_eq!(object["so_far"]["held"]["rate"], 2_000_000.0);
    assert_eq!(object["steps"].as_array().map(Vec::len), Some(2));
    assert!(object["problem"].as_str().expect("text").contains("none"));
}

#[test]
fn where_nothing_holds_it_says_what_is_missing_by_which_probe() {
    let results = searched(0.0, None);
    assert_eq!(outcome(&results), Outcome::Failed);
    let sentences = with_told(&results, words::sentences);
    assert!(
        sentences[0].contains("no rate holds") && sentences[0].contains("100.00 % are missing"),
        "{sentences:?}"
    );
    assert!(
        sentences[0].contains("by probe command:cat"),
        "{sentences:?}"
    );
}

#[test]
fn what_was_counted_beyond_what_was_sent_is_told() {
    let mut results = searched(3_000_000.0, None);
    let sentences = with_told(&results, words::sentences);
    assert!(
        sentences
            .iter()
            .all(|text| !text.contains("more was counted")),
        "{sentences:?}"
    );
    for place in [1, 2] {
        let step = &mut results.steps[place];
        step.counts[0].count = step.sent.flows + 1;
    }
    let said = with_told(&results, words::sentences)
        .pop()
        .expect("sentences");
    let steps = results.steps.len();
    assert!(
        said.contains(&format!(
            "in 2 of {steps} steps, first in step 2 by probe command:cat"
        )),
        "{said}"
    );
    results.found = None;
    assert_eq!(with_told(&results, words::sentences).pop(), Some(said));
}

#[test]
fn the_report_in_json_has_every_step_and_how_to_repeat_it() {
    let results = searched(3_000_000.0, None);
    let text = with_told(&results, json::text);
    assert_eq!(text.matches('\n').count(), 1);
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(object["result"]["ended"], "limit");
    assert_eq!(object["result"]["held"]["held"], 3);
    let steps = object["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), results.steps.len());
    for step in steps {
        let sent = step["sent"]["flows"].as_u64().expect("a number");
        let lost = step["lost_flows"].as_u64().expect("a number");
        let stored = step["counts"][0]["count"].as_u64().expect("a number");
        assert_eq!(sent, stored + lost);
        assert_eq!(step["counts"][0]["of"], "stored_records");
        assert_eq!(step["held"], lost == 0);
    }
    assert!(object["conditions"]["command"].is_array());
    assert_eq!(object["settings"]["step_seconds"], 10.0);
}

#[test]
fn the_page_needs_nothing_else_and_what_it_shows_is_text() {
    let results = searched(3_000_000.0, Some(5));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.html");
    with_told(&results, |told| html::write(told, &path)).expect("written");
    let page = std::fs::read_to_string(&path).expect("a page");
    assert!(page.contains("<svg") && page.contains("</svg>"));
    // A circle for each step in either plot, and two in the legend.
    assert_eq!(page.matches("<circle").count(), results.steps.len() * 2 + 2);
    for outside in [
        "<script", "<link", "<img", "url(", "src=", "@import", "href",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("a &amp; b.pcap") && !page.contains("<b>none"));
    let error = with_told(&results, |told| html::write(told, folder.path()));
    let error = format!("{:#}", error.expect_err("a folder is no file"));
    assert!(error.contains("cannot write"), "{error}");
}

#[test]
fn a_search_that_tried_nothing_is_told_too() {
    let results = Results {
        steps: Vec::new(),
        found: None,
        so_far: SoFar {
            held: None,
            lost: None,
        },
        problem: Some(SearchError::Probe(ProbeError::NoSocket { port: 9 })),
    };
    let sentences = with_told(&results, words::sentences);
    assert_eq!(sentences, ["no result yet after 0 steps: no rate has held"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.html");
    with_told(&results, |told| html::write(told, &path)).expect("written");
}

#[test]
fn lines_stand_under_their_headings() {
    let results = searched(3_000_000.0, None);
    let step = &results.steps[0];
    assert!(matches!(step.counts.as_slice(), [Grown { .. }]));
    let row = table::row(step);
    let end = |text: &str, of: &str| text.find(of).map(|at| at + of.len());
    assert_eq!(end(table::HEAD, "asked flows/s"), end(&row, "1,000,000"));
    assert_eq!(end(table::HEAD, "loss"), end(&row, "0 %"));
    assert!(row.ends_with("  held"), "{row}");
}
