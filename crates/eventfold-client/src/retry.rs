//! Trying again: after how long, and until when.

use std::time::{Duration, Instant};

use crate::clock;

/// The first pause, and the longest. A server that is started again is back within a second or so.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The longest that a server is let ask for.
const ASKED_MAX: Duration = Duration::from_secs(30);

/// How often something was tried in vain.
#[derive(Debug)]
pub(crate) struct Retry {
    until: Option<Instant>,
    pauses: u32,
}

impl Retry {
    /// Until then, or for ever.
    pub(crate) fn until(until: Option<Instant>) -> Self {
        Self { until, pauses: 0 }
    }

    /// Until when it is tried.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.until
    }

    /// How long to wait before it is tried again, at least as long as the server asks for; `None` where there is no time for
    /// that.
    pub(crate) fn next_pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let mut chance = [0];
        clock::fill_random(&mut chance);
        let pause = pause_after(self.pauses, chance[0]).max(asked.unwrap_or_default().min(ASKED_MAX));
        self.pauses = self.pauses.saturating_add(1);
        let is_late = self.until.is_some_and(|until| clock::after(pause).is_none_or(|then| then >= until));
        (!is_late).then_some(pause)
    }

    /// Waits before it is tried again; whether it is to be.
    pub(crate) async fn pause(&mut self, asked: Option<Duration>) -> bool {
        match self.next_pause(asked) {
            Some(pause) => {
                clock::sleep(pause).await;
                true
            }
            None => false,
        }
    }
}

/// Twice as long each time, less up to a half, so that those who were cut off together don't come back together.
fn pause_after(pauses: u32, chance: u8) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1_u32.checked_shl(pauses).unwrap_or(u32::MAX)).min(PAUSE_MAX);
    whole * (512 - u32::from(chance)) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_chance_takes_at_most_half() {
        assert_eq!(pause_after(0, 0), PAUSE_MIN);
        assert_eq!(pause_after(2, 0), 4 * PAUSE_MIN);
        for pauses in [7, 31, 32, u32::MAX] {
            assert_eq!(pause_after(pauses, 0), PAUSE_MAX);
            assert!(pause_after(pauses, 255) > PAUSE_MAX / 2);
        }
    }

    #[test]
    fn nothing_is_waited_for_that_comes_too_late() {
        let mut retry = Retry::until(clock::after(Duration::from_secs(10)));
        assert!(retry.next_pause(None).is_some());
        assert_eq!(retry.next_pause(Some(Duration::from_secs(11))), None);
        assert_eq!(Retry::until(None).next_pause(Some(Duration::from_secs(11))), Some(Duration::from_secs(11)));
        assert_eq!(Retry::until(None).next_pause(Some(Duration::MAX)), Some(ASKED_MAX));
    }
}
