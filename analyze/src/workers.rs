//! Threads that share work.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::AnalyzeError;

/// Does `work` once for each place below `count`, on a thread for each of `states`; the states as they
/// are then, in order. After an error nothing more is begun. The first one in the order of threads is
/// told, but [`AnalyzeError::Stopped`] only where there is no other.
pub(crate) fn share<S: Send>(
    states: Vec<S>,
    count: usize,
    work: impl Fn(&mut S, usize) -> Result<(), AnalyzeError> + Sync,
) -> Result<Vec<S>, AnalyzeError> {
    let next = AtomicUsize::new(0);
    let run = |mut state: S| {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= count {
                return Ok(state);
            }
            if let Err(error) = work(&mut state, place) {
                // Not the greatest number: the others add to it.
                next.store(count, Ordering::Relaxed);
                return Err(error);
            }
        }
    };
    let run = &run;
    let results: Vec<Result<S, AnalyzeError>> = thread::scope(|scope| {
        let start = |state: S| {
            let name = "analyze".to_owned();
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || run(state))
        };
        let started: Vec<_> = states.into_iter().map(start).collect();
        let end = |thread: Result<thread::ScopedJoinHandle<'_, _>, _>| match thread {
            Ok(thread) => match thread.join() {
                Ok(result) => result,
                Err(panic) => panic::resume_unwind(panic),
            },
            Err(error) => Err(AnalyzeError::Thread(error)),
        };
        started.into_iter().map(end).collect()
    });
    let mut ended = Vec::with_capacity(results.len());
    let mut told = None;
    for result in results {
        match (result, &told) {
            (Ok(state), _) => ended.push(state),
            (Err(error), None | Some(AnalyzeError::Stopped)) => told = Some(error),
            (Err(_), Some(_)) => {}
        }
    }
    match told {
        None => Ok(ended),
        Some(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_done_once() {
        let states = share(vec![Vec::new(); 3], 1000, |state, place| {
            state.push(place);
            Ok(())
        });
        let mut places = states.expect("no error").concat();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..1000));
    }

    #[test]
    fn an_error_ends_the_work_and_is_told_before_interruptions() {
        let done = AtomicUsize::new(0);
        let error = share(vec![(); 3], 1_000_000, |(), place| {
            done.fetch_add(1, Ordering::Relaxed);
            match place {
                500 => Err(AnalyzeError::Texts { bytes: 1 }),
                501 => Err(AnalyzeError::Stopped),
                _ => Ok(()),
            }
        });
        assert!(matches!(error, Err(AnalyzeError::Texts { .. })));
        assert!(done.into_inner() < 1_000_000);
    }
}
