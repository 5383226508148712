//! The outbox: bytes that wait to leave over one stream, in which those that many wait for are not copied.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;

/// From how many bytes on something is kept as it is, for one more slice in a write costs less than a
/// copy. Below, one buffer is written faster than several.
const WORTH_SHARING: usize = 2048;
/// How many places for what waits an empty outbox keeps.
const KEPT: usize = 4;

/// Bytes that wait to leave.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Of all parts together.
    length: usize,
    /// As a rule there is no other, and nothing else in memory to look at.
    first: Option<Part>,
    /// Those behind it.
    rest: VecDeque<Part>,
}

#[derive(Debug)]
enum Part {
    Shared(Bytes),
    Own(BytesMut),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

impl Outbox {
    /// Appends `bytes`, of which others have the same; they are copied only behind a few others.
    pub(super) fn share(&mut self, bytes: &Bytes) {
        if self.first.is_none() || bytes.len() >= WORTH_SHARING {
            self.length += bytes.len();
            self.push(Part::Shared(bytes.clone()));
        } else {
            self.put(bytes);
        }
    }

    /// Appends a copy of `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.rest.back_mut().or(self.first.as_mut()) {
            Some(Part::Own(own)) => own.extend_from_slice(bytes),
            Some(last @ Part::Shared(_)) if last.bytes().len() < WORTH_SHARING => {
                let mut own = BytesMut::with_capacity(2 * (last.bytes().len() + bytes.len()));
                own.extend_from_slice(last.bytes());
                own.extend_from_slice(bytes);
                *last = Part::Own(own);
            }
            _ => self.push(Part::Own(bytes.into())),
        }
    }

    fn push(&mut self, part: Part) {
        if self.first.is_none() {
            self.first = Some(part);
        } else {
            self.rest.push_back(part);
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.first.iter().chain(&self.rest)
    }

    /// All that waits, if it is in one piece.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.rest.is_empty().then(|| self.chunk())
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.first.as_ref().map(Part::bytes).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(self.parts());
        filled.map(|(slice, part)| *slice = IoSlice::new(part.bytes())).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.length -= count;
        while let Some(first) = &mut self.first {
            let length = first.bytes().len();
            if count < length {
                match first {
                    Part::Shared(bytes) => bytes.advance(count),
                    Part::Own(bytes) => bytes.advance(count),
                }
                return;
            }
            count -= length;
            self.first = self.rest.pop_front();
        }
        if self.rest.capacity() > KEPT {
            self.rest = VecDeque::new(); // What has been busy once does not keep its memory.
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(outbox: &Outbox) -> Vec<u8> {
        outbox.parts().flat_map(Part::bytes).copied().collect()
    }

    #[test]
    fn what_is_alone_or_large_is_not_copied() {
        let (small, large) = (Bytes::from(vec![1; 100]), Bytes::from(vec![2; WORTH_SHARING]));
        let mut outbox = Outbox::default();
        outbox.share(&small);
        assert_eq!(outbox.chunk().as_ptr(), small.as_ptr());
        outbox.share(&small);
        outbox.share(&large);
        outbox.put(b"end");
        let mut slices = [IoSlice::new(&[]); 8];
        let count = outbox.chunks_vectored(&mut slices);
        let lengths: Vec<_> = slices[..count].iter().map(|slice| slice.len()).collect();
        assert_eq!(lengths, [200, WORTH_SHARING, 3]);
        assert_eq!(slices[1].as_ptr(), large.as_ptr());
        outbox.advance(outbox.remaining());
        assert!(outbox.is_empty() && outbox.chunk().is_empty() && outbox.rest.capacity() <= KEPT);
    }

    proptest! {
        #[test]
        fn bytes_leave_as_they_came(
            steps in prop::collection::vec((any::<bool>(), 0..3_000usize, 0..4_000usize), 1..60)
        ) {
            let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
            for (number, (shared, length, leaves)) in (0..=u8::MAX).zip(steps) {
                let bytes = Bytes::from(vec![number; length]);
                if shared { outbox.share(&bytes) } else { outbox.put(&bytes) }
                expected.extend_from_slice(&bytes);
                let leaves = leaves.min(outbox.remaining());
                outbox.advance(leaves);
                expected.drain(..leaves);
                prop_assert_eq!(content(&outbox), &expected[..]);
                prop_assert_eq!(outbox.is_empty(), expected.is_empty());
            }
        }
    }
}
