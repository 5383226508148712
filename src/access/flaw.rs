//! Flaws: what keeps a key from being used, though it is well written.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::AlgorithmFamily;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::DecodingKeyKind;
use serde_json::Map;
use serde_json::Value;

/// Bits of an RSA key: with fewer it can be broken, and with more the cryptography checks nothing.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// What DER writes before an integer and before a sequence (X.690).
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// What is wrong with `key`, as what follows "it".
pub(super) fn of(key: &DecodingKey) -> Option<String> {
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => of_secret(secret).map(Into::into),
        (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => {
            of_modulus(modulus(der).unwrap_or_default())
        }
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => of_modulus(n),
        _ => None,
    }
}

fn of_modulus(modulus: &[u8]) -> Option<String> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros).map_or(0, |byte| byte.leading_zeros());
    let bits = (modulus.len() - zeros) * 8 - first as usize;
    let form = format!("one that can be used has {} to {}", RSA_BITS.start(), RSA_BITS.end());
    (!RSA_BITS.contains(&bits)).then(|| format!("is an RSA key of {bits} bits; {form}"))
}

/// Why `secret` is none: a public key is in it, in one of the forms in which they are handed out. Whoever
/// has it, and that may be anyone, could sign with it.
fn of_secret(secret: &[u8]) -> Option<&'static str> {
    // Some editors write two bytes for each character.
    let text: String = String::from_utf8_lossy(secret).chars().filter(|letter| *letter != '\0').collect();
    let text = text.trim_start_matches(['\u{feff}', '\u{fffd}']).trim();
    if is_der(secret)
        || BASE64_STANDARD.decode(text.split_whitespace().collect::<String>()).is_ok_and(|der| is_der(&der))
    {
        return Some("is a key in DER, and never a secret; write a public key in PEM");
    }
    if text.contains("---- BEGIN ") || text.contains("-----BEGIN ") {
        return Some("is a key, and never a secret; write a public key in PEM alone");
    }
    if ["ssh-", "ecdsa-"].iter().any(|kind| text.starts_with(kind)) {
        return Some(
            "is a key of SSH, and never a secret; write it in PEM, as `ssh-keygen -e -m PKCS8` does",
        );
    }
    if serde_json::from_str::<Map<String, Value>>(text).is_ok() {
        return Some("is JSON, and never a secret; a set of keys belongs into `jwks_file`");
    }
    None
}

/// Whether `bytes` are one sequence that begins as keys and certificates do: with an integer or a sequence.
fn is_der(bytes: &[u8]) -> bool {
    match element(bytes) {
        Some((SEQUENCE, content, [])) => {
            element(content).is_some_and(|(kind, ..)| [INTEGER, SEQUENCE].contains(&kind))
        }
        _ => false,
    }
}

/// The modulus of a public key of RSA (RFC 8017, A.1.1).
fn modulus(der: &[u8]) -> Option<&[u8]> {
    let (_, content, _) = element(der).filter(|(kind, ..)| *kind == SEQUENCE)?;
    element(content).filter(|(kind, ..)| *kind == INTEGER).map(|(_, modulus, _)| modulus)
}

/// The first element of DER: its kind, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // What is longer than four bytes can say is no key.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*kind, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::KeyPair;
    use rcgen::PublicKeyData;

    use super::*;

    #[test]
    fn a_public_key_in_any_form_is_no_secret() {
        for kind in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            let pair = KeyPair::generate_for(kind).unwrap();
            let spki = pair.subject_public_key_info();
            let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap();
            let base64 = BASE64_STANDARD.encode(&spki);
            let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
            let wide: Vec<u8> = "\u{feff}"
                .encode_utf16()
                .chain(pair.public_key_pem().encode_utf16())
                .flat_map(u16::to_le_bytes)
                .collect();
            for bytes in [
                spki.clone(),
                certificate.der().to_vec(),
                pair.serialize_der(),
                base64.clone().into(),
                lines.join("\r\n").into(),
                pair.public_key_pem().into(),
                format!("a comment\n{}", pair.public_key_pem()).into(),
                wide,
            ] {
                let key = DecodingKey::from_secret(&bytes);
                assert!(of(&key).is_some_and(|flaw| flaw.contains("never a secret")), "{bytes:?}");
            }
        }
        for text in [
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]}",
            "\u{feff} {\"kty\": \"RSA\"}\n",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDgh7zRk2bZ somebody",
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=",
            "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA",
        ] {
            assert!(of_secret(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_a_secret() {
        let base64 = BASE64_STANDARD.encode([7; 48]);
        for secret in [
            &b"a secret of at least 32 bytes, as it must be"[..],
            base64.as_bytes(),
            &[0x30; 32],
            &[
                0x30, 0x1e, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4,
                5, 6, 7, 8,
            ],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            b"{not json",
            b"[1]",
            b"\xff\xfe\x00",
            b"",
        ] {
            assert_eq!(of_secret(secret), None, "{secret:?}");
        }
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_counted_without_what_stands_before_them() {
        for (zeros, first, bytes, bits) in [
            (0, 0x80, 256, None),
            (1, 0x80, 256, None),
            (0, 0xff, 1024, None),
            (0, 0x7f, 256, Some(2047)),
            (5, 0x01, 256, Some(2041)),
            (0, 0x80, 128, Some(1024)),
            (0, 0x01, 1025, Some(8193)),
        ] {
            let mut modulus = vec![0; zeros];
            modulus.push(first);
            modulus.resize(zeros + bytes, 0xff);
            let expected = bits
                .map(|bits| format!("is an RSA key of {bits} bits; one that can be used has 2048 to 8192"));
            assert_eq!(of(&DecodingKey::from_rsa_raw_components(&modulus, &[1, 0, 1])), expected);
        }
        assert!(of_modulus(&[]).is_some_and(|flaw| flaw.starts_with("is an RSA key of 0 bits")));
    }
}
