//! How fast this processor's time stamp counter runs.
//!
//! A machine without hardware virtualisation measures it while it boots, fails to where the host is busy, and then hangs for ever. So it is
//! told: the emulator shows it the host's own counter.

use crate::{error::Error, frame};
use std::{io, process::ExitCode};
use teal_core::agent::MAX_FRAME;

/// Answers the counter's frequency in kHz, as a frame; 0 where there is none.
pub(crate) fn run() -> ExitCode {
    let told: Result<(), Error> = frame::write(&mut io::stdout(), &khz(), MAX_FRAME);
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(target_arch = "x86_64")]
fn khz() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    /// Long enough for a precision that the machine corrects afterwards.
    const SPAN_NS: u128 = 50_000_000;
    let look = || {
        let clock = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW);
        let now = clock.map_or(0, |t| {
            u128::from(t.tv_sec().unsigned_abs()) * 1_000_000_000 + u128::from(t.tv_nsec().unsigned_abs())
        });
        // SAFETY: reads a register; every processor that runs this has it.
        (now, u128::from(unsafe { core::arch::x86_64::_rdtsc() }))
    };
    let (begun, first) = look();
    loop {
        let (now, count) = look();
        if now == 0 {
            return 0;
        }
        if now - begun >= SPAN_NS {
            return u64::try_from(count.saturating_sub(first) * 1_000_000 / (now - begun)).unwrap_or(0);
        }
        std::hint::spin_loop();
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn khz() -> u64 {
    0
}
