//! What tells the nodes apart.

use std::fmt;

/// A node, for as long as its process lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Node(pub(super) [u8; Node::LENGTH]);

impl Node {
    /// Bytes of its id: enough that no two nodes ever get the same by chance.
    pub(super) const LENGTH: usize = 16;

    /// A node that nobody has heard of.
    pub(super) fn random() -> Self {
        Self(random())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Random bytes.
#[expect(clippy::expect_used, reason = "a kernel that has no random bytes has had none for TLS either")]
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the kernel has random bytes");
    bytes
}
