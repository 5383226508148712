//! One line on a terminal that says how far a run is.

use std::io::IsTerminal;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

/// Time between two looks at it.
const PERIOD: Duration = Duration::from_secs(1);

/// The line, which is cleared at the end; nothing is written where nobody looks.
#[derive(Debug)]
pub struct Progress {
    told: Instant,
    shown: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self { told: Instant::now(), shown: false }
    }

    /// Shows `text` in the place of what was shown before, once a second at most.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.told.elapsed() < PERIOD {
            return;
        }
        self.told = Instant::now();
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            self.shown = true;
            // Who cannot be told is not.
            let _ = write!(terminal, "\r\x1b[K{}", text()).and_then(|()| terminal.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
