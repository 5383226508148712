//! What a client shows of who it is in its CONNECT.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use socketioxide_core::Value;

use crate::access::LONGEST_TOKEN;
use crate::access::Token;

/// The token that a CONNECT carries: `auth.token`.
pub(super) fn token(auth: Option<&Value>) -> Option<Token> {
    let auth = match auth? {
        Value::Str(text, _) => serde_json::from_str(text),
        Value::Bytes(bytes) => rmp_serde::from_slice(bytes).map_err(serde::de::Error::custom),
    };
    match auth.unwrap_or(Auth { token: Shown::Wrong }).token {
        Shown::Nothing => None,
        Shown::Text(token) if token.len() <= LONGEST_TOKEN => Some(token.as_str().into()),
        // It shows something, and so does not count as if it showed nothing; but it is nobody's.
        Shown::Text(_) | Shown::Wrong => Some("".into()),
    }
}

/// What stands where `auth` stands. Nothing of it is kept but the token, however large it is.
struct Auth {
    token: Shown,
}

#[derive(Default)]
enum Shown {
    #[default]
    Nothing,
    Text(String),
    Wrong,
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InAuth)
    }
}

struct InAuth;

impl<'de> Visitor<'de> for InAuth {
    type Value = Auth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, or nothing")
    }

    fn visit_unit<E>(self) -> Result<Auth, E> {
        Ok(Auth { token: Shown::Nothing })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Auth, A::Error> {
        let mut found = None;
        while let Some(Key(is_token)) = entries.next_key()? {
            if !is_token {
                entries.next_value::<IgnoredAny>()?;
            } else if found.replace(entries.next_value()?).is_some() {
                found = Some(Shown::Wrong);
            }
        }
        Ok(Auth { token: found.unwrap_or_default() })
    }
}

/// Whether a key is the token's.
struct Key(bool);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InKey)
    }
}

struct InKey;

impl Visitor<'_> for InKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(Key(key == "token"))
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InToken)
    }
}

struct InToken;

impl<'de> Visitor<'de> for InToken {
    type Value = Shown;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_unit<E>(self) -> Result<Shown, E> {
        Ok(Shown::Nothing)
    }

    fn visit_str<E>(self, token: &str) -> Result<Shown, E> {
        Ok(Shown::Text(token.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shown, E> {
        Ok(Shown::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shown, E> {
        Ok(Shown::Wrong)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shown, E> {
        Ok(Shown::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shown, E> {
        Ok(Shown::Wrong)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Shown, E> {
        Ok(Shown::Wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Shown, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shown::Wrong)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shown, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shown::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_json(auth: &str) -> Option<Token> {
        token(Some(&Value::Str(auth.to_owned().into(), None)))
    }

    #[test]
    fn a_token_is_a_string_in_an_object() {
        for (auth, expected) in [
            (r#"{"token":"a"}"#, Some("a")),
            (r#"{"other":[1,{"token":"b"}],"token":"a\n"}"#, Some("a\n")),
            (r#"{"token":null}"#, None),
            (r#"{"tokens":"a"}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            assert_eq!(of_json(auth), expected.map(Token::from), "{auth}");
        }
        assert_eq!(token(None), None);
    }

    #[test]
    fn what_is_no_token_where_one_stands_is_nobodys() {
        for auth in [
            r#"{"token":1}"#,
            r#"{"token":-1}"#,
            r#"{"token":1.5}"#,
            r#"{"token":true}"#,
            r#"{"token":["a"]}"#,
            r#"{"token":{"token":"a"}}"#,
            r#"{"token":"a","token":"a"}"#,
            r#"{"token":""}"#,
            r#"{"token":"a""#,
            r#"["a"]"#,
            r#""a""#,
            "1",
            "",
            "{",
        ] {
            assert_eq!(of_json(auth), Some(Token::from("")), "{auth}");
        }
    }

    #[test]
    fn it_is_the_same_in_message_pack() {
        let mut packed = rmp_serde::to_vec(&std::collections::BTreeMap::from([("token", "a")])).unwrap();
        let token = |bytes: &[u8]| token(Some(&Value::Bytes(bytes.to_vec().into())));
        assert_eq!(token(&packed), Some("a".into()));
        packed.truncate(packed.len() - 1);
        assert_eq!(token(&packed), Some("".into()));
        assert_eq!(token(&[0xc0]), None);
        assert_eq!(token(b"\x81\xa5token\xc4\x01a"), Some("".into()));
    }
}
