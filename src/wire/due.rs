//! Who is to be written to, once a publisher has said all that it has to say for now.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use futures_util::FutureExt;
use tokio::task::coop::unconstrained;

use crate::wire::link::Link;
use crate::wire::links::Links;

/// The sessions whose turn it is to be written once a publisher has said all that it has to say for now.
#[derive(Default)]
pub struct Due {
    links: Vec<Arc<Link>>,
    late: Vec<Arc<dyn Late>>,
}

/// Who offers sessions something only in the moment in which they are written.
pub trait Late: Send + Sync {
    /// The moment has come.
    fn come(&self);
}

impl Due {
    /// Puts one more there.
    pub(super) fn add(&mut self, link: &Arc<Link>) {
        self.links.push(link.clone());
    }

    /// Before anybody is written, `late` comes.
    pub fn expect(&mut self, late: Arc<dyn Late>) {
        self.late.push(late);
    }

    /// Writes what they have been offered.
    pub fn write(self, all: &Links) {
        if self.links.is_empty() {
            return;
        }
        // Without a budget: it would be the publisher's, and end in the midst of many.
        let write = |link: &Arc<Link>| {
            let mut way = link.outgoing().lock();
            way.due = false;
            way.write(link)
        };
        let write = unconstrained(async { self.links.iter().map(write).sum() });
        let left = write.now_or_never().unwrap_or_default();
        all.dequeued(left);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are none, and will be none.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.late.is_empty()
    }
}

impl Link {
    /// The sessions that wait for the client of this one to have said all that it has to say for now.
    pub fn due(&self) -> MutexGuard<'_, Due> {
        self.outgoing().due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has those offer what they have who do so only before others are written.
    pub fn call_late(&self) {
        let late = std::mem::take(&mut self.due().late);
        for late in late {
            late.come();
        }
    }

    /// Writes what the client of this session has published to those who were [`Offered`] it.
    pub fn flush(&self) {
        self.call_late();
        let due = Due { links: std::mem::take(&mut self.due().links), late: Vec::new() };
        due.write(self.links());
    }

    /// Does so when it is dropped: a request may be given up in the midst of it.
    pub fn flush_at_last(&self) -> impl Drop + '_ {
        struct Flush<'a>(&'a Link);
        impl Drop for Flush<'_> {
            fn drop(&mut self) {
                self.0.flush();
            }
        }
        Flush(self)
    }
}
