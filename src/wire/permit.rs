//! A permit: the place that a connection or a session takes up for as long as it lasts.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

/// Something that gives a place back when it is dropped; what place is the affair of who let it
/// in.
pub struct Permit {
    _guard: Box<dyn Send + Sync>,
}

impl Permit {
    /// A permit that gives back what `guard` does when it is dropped.
    #[must_use]
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// The permit of a session, until it is given back.
///
/// The library lets go at once of a session that has been in the namespace, and else only when
/// `socketio.connect_timeout` is over. What it holds on to takes memory, so it takes its place until
/// then: otherwise a client that comes and goes without a CONNECT would take as much as it likes.
#[derive(Debug)]
pub(super) struct Kept {
    permit: Mutex<Option<Permit>>,
    entered: AtomicBool,
}

impl Kept {
    pub(super) fn new(permit: Permit) -> Self {
        Self { permit: Mutex::new(Some(permit)), entered: AtomicBool::new(false) }
    }

    /// The session has entered the namespace.
    pub(super) fn enter(&self) {
        self.entered.store(true, SeqCst);
    }

    /// The session is over.
    pub(super) fn end(&self) {
        if self.entered.load(SeqCst) {
            let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(permit);
        }
    }
}
