//! Real captures, and what independent decoders said of every record in them.
//!
//! `FOREBAY_CORPUS` names the folder with the captures; docs/conformance.md describes its form.

mod capture;
mod compare;
mod corpus;
mod expected;
mod explained;
mod malformed;
#[path = "../plain/mod.rs"]
mod plain;

use capture::Report;
use corpus::Corpus;

/// Unexplained mismatches that are printed at most.
const SHOWN_MAX: usize = 60;

#[test]
fn every_field_that_others_saw_is_decoded_the_same() {
    let Some(corpus) = Corpus::from_environment() else {
        return;
    };
    let mut explained = explained::List::read();
    let mut sum = Report::default();
    let mut unexplained = Vec::new();
    println!("{}", Report::HEADING);
    for capture in &corpus.captures {
        let mut report = capture::check(capture);
        let (known, unknown) =
            explained.split(&capture.name, std::mem::take(&mut report.mismatches));
        report.explained = known;
        println!("{}", report.line(&capture.name, unknown.len()));
        sum.add(&report);
        unexplained.extend(unknown);
    }
    println!(
        "{}",
        sum.line(&format!("all {}", corpus.captures.len()), unexplained.len())
    );
    let stale = explained.stale();
    for mismatch in unexplained.iter().take(SHOWN_MAX) {
        println!("{mismatch}");
    }
    assert!(sum.fields > 0, "the corpus holds no expectation");
    assert!(
        unexplained.is_empty(),
        "{} mismatches are not explained",
        unexplained.len()
    );
    assert!(
        stale.is_empty(),
        "these explain nothing any more: {stale:#?}"
    );
}

#[test]
fn malformed_captures_cost_their_bad_sets_alone() {
    let Some(corpus) = Corpus::from_environment() else {
        return;
    };
    for capture in &corpus.malformed {
        malformed::check(capture);
    }
}
