//! The containers around the value that is being read.

use super::Bounds;
use super::Fault;

/// A stack of open arrays and objects, each described by a `T`, in place of recursion.
///
/// It lives in the reader's own frame: a message costs no allocation, and no nesting can overflow.
pub(super) struct Nesting<T> {
    open: [T; Bounds::MAX_NESTING],
    depth: usize,
    limit: usize,
}

impl<T: Copy> Nesting<T> {
    /// No container is open, and at most `limit` may be. Any `filler` will do.
    pub(super) fn new(limit: usize, filler: T) -> Self {
        Self { open: [filler; Bounds::MAX_NESTING], depth: 0, limit: limit.min(Bounds::MAX_NESTING) }
    }

    /// Opens a container within the innermost one.
    pub(super) fn open(&mut self, container: T) -> Result<(), Fault> {
        let too_deep = Fault::TooDeep { limit: self.limit };
        let free = self.open.get_mut(..self.limit).and_then(|allowed| allowed.get_mut(self.depth));
        *free.ok_or(too_deep)? = container;
        self.depth += 1;
        Ok(())
    }

    /// Closes the innermost container.
    pub(super) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The container that the value being read stands in, if it stands in one.
    pub(super) fn innermost(&mut self) -> Option<&mut T> {
        self.open.get_mut(self.depth.checked_sub(1)?)
    }
}
