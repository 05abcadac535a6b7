//! The program as its users meet it: started with arguments, judged by output and exit code.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod balance;
mod collect;
mod dedupe;
mod demo;
mod errors;
mod generate;
mod inspect;
mod print;
mod record;
mod replay;
mod route;
mod search;
mod summarize;
mod support;
