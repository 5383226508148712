//! Nkeys: the keys of NATS, which are those of Ed25519 in writing of its own.
//!
//! The crate `nkeys` would bring another library of cryptography beside AWS-LC.

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;

/// What the seeds begin with, in the upper five bits.
const SEED: u8 = 18;
/// What the keys of users begin with, in the upper five bits.
const USER: u8 = 20;

/// The key of a user.
pub(super) struct Nkey(Ed25519KeyPair);

impl Nkey {
    /// The key that `seed` is of: five bits say that it is a seed and five of whom, then come the seed
    /// itself and a checksum.
    pub(super) fn from_seed(seed: &str) -> Result<Self, &'static str> {
        const NO_SEED: &str = "it has no seed of a user's nkey, which begins with `SU`";
        let bytes = BASE32_NOPAD.decode(seed.as_bytes()).map_err(|_| NO_SEED)?;
        let (bytes, sum) = bytes.split_last_chunk::<2>().ok_or(NO_SEED)?;
        let (prefix, seed) = bytes.split_first_chunk::<2>().ok_or(NO_SEED)?;
        if u16::from_be_bytes(*prefix) >> 6 != u16::from(SEED) << 5 | u16::from(USER) {
            return Err(NO_SEED);
        }
        if checksum(bytes) != u16::from_le_bytes(*sum) {
            return Err("there is a slip of the pen in its seed");
        }
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| NO_SEED)
    }

    /// How it is known to others.
    pub(super) fn public(&self) -> String {
        let mut bytes = vec![USER << 3];
        bytes.extend(self.0.public_key().as_ref());
        bytes.extend(checksum(&bytes).to_le_bytes());
        BASE32_NOPAD.encode(&bytes)
    }

    /// The signature of `nonce`.
    pub(super) fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(nonce.as_bytes()))
    }
}

/// CRC-16 as XMODEM has it.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_manual_is_read() {
        // https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth
        let key = Nkey::from_seed("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY").unwrap();
        assert_eq!(key.public(), "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
    }

    #[test]
    fn what_is_no_seed_of_a_user_is_refused() {
        for seed in [
            "",
            "S",
            "hello",
            "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
            "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VZ",
            "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3",
            "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU4VY",
        ] {
            assert!(Nkey::from_seed(seed).is_err(), "{seed}");
        }
    }
}
