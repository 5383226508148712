//! The fuzzing targets: what reads bytes of strangers, against oracles, on inputs that nobody chose.
//!
//! Under `cargo test` each target sees its kept corpus and a few thousand inputs made from that. Under
//! `scripts/fuzz.sh` libFuzzer makes the inputs, led by coverage.

#![expect(unreachable_pub, reason = "there is nothing above the crate of a test")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test panics when it fails, and so may what it is made of"
)]

mod configuration;
mod events;
mod frames;
mod payloads;
mod proxy_headers;
#[cfg(not(fuzzing))]
mod replay;

#[test]
fn events() {
    fuzz("events", events::check);
}

#[test]
fn frames() {
    fuzz("frames", frames::check);
}

#[test]
fn payloads() {
    fuzz("payloads", payloads::check);
}

#[test]
fn configuration() {
    fuzz("configuration", configuration::check);
}

#[test]
fn proxy_headers() {
    fuzz("proxy_headers", proxy_headers::check);
}

#[cfg(not(fuzzing))]
fn fuzz(target: &str, check: fn(&[u8])) {
    replay::replay(target, check);
}

/// Does nothing but for the target that `FUZZ_TARGET` names: libFuzzer starts the program anew for some
/// of its work, and without the arguments that choose a test.
#[cfg(fuzzing)]
fn fuzz(target: &str, check: fn(&[u8])) {
    if std::env::var("FUZZ_TARGET").is_ok_and(|chosen| chosen == target) {
        bolero::check!(name = target).for_each(check);
    }
}
