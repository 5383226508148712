//! Why clients are gone, as the metrics tell it.

/// Why a client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnection {
    /// The client said so, with a Socket.IO DISCONNECT.
    Client,
    /// The connection ended, with or without a word.
    TransportClosed,
    /// No heartbeat in time.
    PingTimeout,
    /// The client broke the protocol.
    ProtocolError,
    /// The client read more slowly than messages came: its send queue was full, or held what should
    /// have left long before.
    SlowConsumer,
    /// The peer did not read what it was sent.
    WriteStalled,
    /// The client's token has ended.
    Expired,
    /// The client is no longer allowed, since a reload.
    Revoked,
    /// The node shut down.
    Drain,
}

impl Disconnection {
    /// All of them, in the order in which they are declared.
    pub(super) const ALL: [Self; 9] = [
        Self::Client,
        Self::TransportClosed,
        Self::PingTimeout,
        Self::ProtocolError,
        Self::SlowConsumer,
        Self::WriteStalled,
        Self::Expired,
        Self::Revoked,
        Self::Drain,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::TransportClosed => "transport_closed",
            Self::PingTimeout => "ping_timeout",
            Self::ProtocolError => "protocol_error",
            Self::SlowConsumer => "slow_consumer",
            Self::WriteStalled => "write_stalled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Drain => "drain",
        }
    }
}
