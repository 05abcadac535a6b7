//! Whether a collector that refused datagrams does so still.
//!
//! ```text
//! refused ── 5 s ── an empty datagram ── 1 s ── not refused: up
//!    ▲                                      └── refused, this or another ──┐
//!    └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An empty datagram, so that none is lost that matters: collectors pass over it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// How long it is waited before a trial, in microseconds.
const PAUSE_US: i64 = 5_000_000;
/// How long a refusal may take to come, in microseconds.
const ANSWER_US: i64 = 1_000_000;

/// The collectors that refused.
#[derive(Debug, Default)]
pub(super) struct Trials(Vec<Trial>);

#[derive(Debug)]
struct Trial {
    address: SocketAddr,
    step: Step,
    /// When there is something to be done.
    due_us: i64,
    /// Whether it was asked about in this look.
    asked: bool,
}

#[derive(Debug)]
enum Step {
    /// To be tried.
    Waits,
    /// Tried by this socket, after so many refusals.
    Tried { socket: UdpSocket, refusals: u32 },
}

impl Trials {
    /// From here on it is asked about all that refuse.
    pub(super) fn begin_look(&mut self) {
        for trial in &mut self.0 {
            trial.asked = false;
        }
    }

    /// Forgets those that do not refuse any more.
    pub(super) fn end_look(&mut self) {
        self.0.retain(|trial| trial.asked);
    }

    /// The number of refusals before a trial that went well. Refused so far were `refusals`.
    pub(super) fn passed(
        &mut self,
        address: SocketAddr,
        refusals: u32,
        now_us: i64,
    ) -> Option<u32> {
        let known = self.0.iter_mut().find(|trial| trial.address == address);
        let Some(trial) = known else {
            self.0.push(Trial {
                address,
                step: Step::Waits,
                due_us: now_us + PAUSE_US,
                asked: true,
            });
            return None;
        };
        trial.asked = true;
        if now_us < trial.due_us {
            return None;
        }
        (trial.step, trial.due_us) = match &trial.step {
            Step::Waits => match attempt(address) {
                Some(socket) => (Step::Tried { socket, refusals }, now_us + ANSWER_US),
                None => (Step::Waits, now_us + PAUSE_US),
            },
            Step::Tried {
                socket,
                refusals: before,
            } => {
                // Its own refusal, or one of a message that was sent all the same.
                if *before == refusals && matches!(socket.take_error(), Ok(None)) {
                    return Some(refusals);
                }
                (Step::Waits, now_us + PAUSE_US)
            }
        };
        None
    }
}

/// Sends the trial. A connected socket hears of its refusal, udp(7).
fn attempt(address: SocketAddr) -> Option<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(address).ok()?;
    // Where its buffer is full, there is no answer to wait for.
    socket.set_nonblocking(true).ok()?;
    socket.send(&[]).ok()?;
    Some(socket)
}
