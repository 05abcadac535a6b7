//! Template sequences: what a few exporters send, in several sessions and domains, with templates
//! that come, change, are missing and come late, across restarts.
#![no_main]

use forebay_collector::Columns;
use forebay_fuzz::{Books, Exchange};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|exchange: Exchange| {
    let mut books = Books::new(Columns::default(), false);
    exchange.play(&mut books);
    let _none = books.finish();
});
