//! Real captures, and what independent decoders said of every record in them.
//!
//! `FOREBAY_CORPUS` names the folder with the captures; docs/conformance.md describes its form.

mod capture;
mod compare;
mod corpus;
mod expected;
mod explained;
mod malformed;
#[path = "../../store/tests/needs/mod.rs"]
mod needs;
#[path = "../plain/mod.rs"]
mod plain;

use std::collections::BTreeMap;

use capture::Report;
use corpus::Corpus;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A test that needs the corpus.
type Test = fn(&Corpus);

/// Captures and fields with mismatches that are printed at most, each with the first.
const SHOWN_MAX: usize = 60;

fn main() {
    let tests: [(&str, Test); 2] = [
        (
            "every_field_that_others_saw_is_decoded_the_same",
            every_field_that_others_saw_is_decoded_the_same,
        ),
        (
            "malformed_captures_cost_their_bad_sets_alone",
            malformed_captures_cost_their_bad_sets_alone,
        ),
    ];
    let trials = tests.map(|(name, test)| Trial::ignorable_test(name, move || on_corpus(test)));
    // One after the other, so that their tables stay apart.
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// Runs a test on the corpus, if there is one here.
fn on_corpus(test: Test) -> Result<Completion, Failed> {
    let Some(folder) = std::env::var_os("FOREBAY_CORPUS") else {
        return needs::missing("FOREBAY_CORPUS is not set");
    };
    test(&Corpus::read(folder.as_ref()));
    Ok(Completion::Completed)
}

fn every_field_that_others_saw_is_decoded_the_same(corpus: &Corpus) {
    let mut explained = explained::List::read();
    let mut sum = Report::default();
    let mut unexplained = Vec::new();
    println!("{}", Report::HEADING);
    for capture in &corpus.captures {
        let mut report = capture::check(capture);
        let mismatches = std::mem::take(&mut report.mismatches);
        let (known, unknown) = explained.split(&capture.name, mismatches);
        report.explained = known;
        println!("{}", report.line(&capture.name, unknown.len()));
        sum.add(&report);
        unexplained.extend(unknown);
    }
    let name = format!("all {}", corpus.captures.len());
    println!("{}", sum.line(&name, unexplained.len()));
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for mismatch in &unexplained {
        let group = (&mismatch.capture, &mismatch.field);
        groups.entry(group).or_default().push(mismatch);
    }
    for mismatches in groups.values().take(SHOWN_MAX) {
        println!("{} × {}", mismatches.len(), mismatches[0]);
    }
    let stale = explained.stale();
    assert!(sum.fields > 0, "the corpus holds no expectation");
    assert!(
        unexplained.is_empty(),
        "{} mismatches are not explained; the first are above",
        unexplained.len()
    );
    assert!(
        stale.is_empty(),
        "these explain nothing any more: {stale:#?}"
    );
}

fn malformed_captures_cost_their_bad_sets_alone(corpus: &Corpus) {
    for capture in &corpus.malformed {
        malformed::check(capture);
    }
}
