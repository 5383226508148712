//! A permit: the place that a session takes up for as long as it lasts.

use std::fmt;

/// Something that gives a place back when it is dropped; what place is the affair of who let the
/// session in.
pub struct Permit {
    _guard: Box<dyn Send>,
}

impl Permit {
    /// A permit that gives back what `guard` does when it is dropped.
    #[must_use]
    pub fn new(guard: impl Send + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
