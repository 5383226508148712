//! What signed tokens claim: it must be true now and meant for this broker, and it is taken as it is.

use jsonwebtoken::Algorithm::ES256;
use serde_json::json;
use tempfile::TempDir;

use super::signed::Broker;
use super::signer::AUDIENCE;
use super::signer::ISSUER;
use super::signer::Signer;
use super::signer::claims;
use super::signer::from_now;

#[test]
fn what_a_token_claims_must_be_true_now_and_meant_for_this_broker() {
    let folder = TempDir::new().unwrap();
    let signer = Signer::p256();
    let file = signer.write(folder.path(), "p256");
    let mut broker = Broker::start(&[ES256], &format!("key_file = '{file}'"), "leeway = '30s'");
    let token = |changes| signer.sign(ES256, &claims(&changes));
    for (what, changes) in [
        ("as it should be", json!({})),
        ("without `iat`", json!({"iat": null})),
        ("with fractions", json!({"exp": from_now(600.5), "nbf": from_now(-0.5), "iat": from_now(-0.5)})),
        ("over by less than clocks may differ", json!({"exp": from_now(-20.0).floor()})),
        ("soon valid", json!({"nbf": from_now(20.0).floor(), "iat": from_now(20.0).floor()})),
        ("for several", json!({"aud": ["other", AUDIENCE]})),
        ("for ever, nearly", json!({"exp": 9_999_999_999_u64})),
    ] {
        broker.accept(what, &token(changes));
    }
    for (what, changes, expected) in [
        ("expired", json!({"exp": from_now(-40.0).floor()}), "it has expired"),
        ("expired in 1970", json!({"exp": 0}), "it has expired"),
        ("without an end", json!({"exp": null}), "`exp` is missing"),
        ("an end that is text", json!({"exp": "2999999999"}), ""),
        ("an end before time", json!({"exp": -1}), ""),
        ("an end beyond time", json!({"exp": 1e300}), ""),
        ("an end that is a list", json!({"exp": [from_now(600.0)]}), ""),
        ("not yet valid", json!({"nbf": from_now(60.0).floor()}), "it is not valid yet"),
        ("a beginning that is text", json!({"nbf": "0"}), ""),
        ("from the future", json!({"iat": from_now(60.0).floor()}), "it is from the future"),
        ("made at no time", json!({"iat": "now"}), "`iat` is not a time"),
        ("made before time", json!({"iat": -5}), "`iat` is not a time"),
        ("of somebody else", json!({"iss": "https://evil.example"}), "`iss` is not what"),
        ("of somebody with a similar name", json!({"iss": format!("{ISSUER}/")}), "`iss` is not what"),
        ("of several", json!({"iss": [ISSUER, "https://evil.example"]}), ""),
        ("of nobody", json!({"iss": null}), "`iss` is missing"),
        ("of a number", json!({"iss": 7}), ""),
        ("for somebody else", json!({"aud": "other"}), "`aud` is not what"),
        ("for nobody of several", json!({"aud": ["other", "another"]}), "`aud` is not what"),
        ("for no one", json!({"aud": []}), "`aud` is not what"),
        ("for nobody", json!({"aud": null}), "`aud` is missing"),
        ("for an object", json!({"aud": {"broker": true}}), ""),
        ("about several", json!({"sub": ["ann"]}), "what it says is not well written"),
        ("of an unknown role", json!({"role": "admin"}), "there is no such role"),
        ("of no role", json!({"role": null}), "it names no role"),
        ("of an empty role", json!({"role": ""}), "there is no such role"),
        ("of several roles", json!({"role": ["user"]}), "the claim of its role is not a string"),
        ("of a role that is a number", json!({"role": 7}), "the claim of its role is not a string"),
        ("rooms that are text", json!({"subscribe": "public.*"}), "`subscribe` is not an array of patterns"),
        ("rooms that are numbers", json!({"publish": [7]}), "`publish` is not an array of patterns"),
        (
            "rooms that are no pattern",
            json!({"publish": ["a", "{"]}),
            "`publish` is not an array of patterns",
        ),
        (
            "rooms with claims",
            json!({"subscribe": ["user.{sub}"]}),
            "`subscribe` is not an array of patterns",
        ),
        ("rooms without a name", json!({"subscribe": [""]}), "`subscribe` is not an array of patterns"),
        ("rooms that are an object", json!({"subscribe": {"allow": ["*"]}}), "`subscribe` is not an array"),
    ] {
        let reason = broker.reason(what, &token(changes));
        assert!(reason.starts_with(expected) && !reason.is_empty(), "{what}: {reason}");
    }
    let nothing = claims(&json!({"subscribe": "?"})).replace("\"?\"", "null");
    let reason = broker.reason("rooms that are null", &signer.sign(ES256, &nothing));
    assert!(reason.starts_with("`subscribe` is not an array"), "{reason}");
    let nothing = claims(&json!({"role": "?"})).replace("\"?\"", "null");
    let reason = broker.reason("a role that is null", &signer.sign(ES256, &nothing));
    assert_eq!(reason, "the claim of its role is not a string");
}

#[test]
fn a_broker_without_a_name_takes_no_token_that_is_for_somebody_however_that_is_written() {
    let folder = TempDir::new().unwrap();
    let signer = Signer::p256();
    let file = signer.write(folder.path(), "p256");
    let mut broker = Broker::start_for_all(&[ES256], &format!("key_file = '{file}'"), "");
    let token = |audience| signer.sign(ES256, &claims(&json!({"aud": audience})));
    broker.accept("for nobody", &token(json!(null)));
    for audience in
        [json!(AUDIENCE), json!(["other"]), json!([]), json!(["other", 7]), json!(7), json!({"other": true})]
    {
        let reason = broker.reason(&audience.to_string(), &token(audience.clone()));
        assert_eq!(reason, "`aud` is not what `access.jwt.audience` says", "{audience}");
    }
}

#[test]
fn a_claim_is_a_name_and_not_a_pattern_and_a_token_narrows_what_its_role_may_do() {
    let folder = TempDir::new().unwrap();
    let signer = Signer::p256();
    let file = signer.write(folder.path(), "p256");
    let broker = Broker::start(&[ES256], &format!("key_file = '{file}'"), "");
    for (changes, may, may_not) in [
        (json!({}), vec!["public.a", "user.ann.a"], vec!["public.internal", "user.bob.a", "user.ann", "x"]),
        (json!({"sub": "*"}), vec!["public.a", "user.*.a"], vec!["user.ann.a"]),
        (json!({"sub": "{role}"}), vec!["user.{role}.a"], vec!["user.user.a"]),
        (json!({"sub": "a.b"}), vec!["user.a.b.c"], vec!["user.a.c"]),
        (json!({"sub": 7}), vec!["user.7.a"], vec!["user.a"]),
        (json!({"sub": ""}), vec!["public.a"], vec!["user..a"]),
        (json!({"sub": null}), vec!["public.a"], vec!["user..a", "user.ann.a"]),
        (json!({"sub": true}), vec!["public.a"], vec!["user.true.a"]),
        (json!({"subscribe": []}), vec![], vec!["public.a", "user.ann.a"]),
        (json!({"subscribe": ["public.a"]}), vec!["public.a"], vec!["public.b", "user.ann.a"]),
        (json!({"subscribe": ["*"]}), vec!["public.a"], vec!["public.internal", "user.bob.a", "x"]),
        (json!({"publish": []}), vec!["public.a", "user.ann.a"], vec!["x"]),
    ] {
        let mut client = broker.accept("narrowed", &signer.sign(ES256, &claims(&changes)));
        for room in may {
            client.subscribe(&format!("\"{room}\""));
        }
        for room in may_not {
            let event = format!("[\"subscribe\",\"{room}\"]");
            assert_eq!(super::refusal(&mut client, &event), "forbidden", "{changes} {room}");
        }
    }
    let mut client = broker.accept("narrowed", &signer.sign(ES256, &claims(&json!({"publish": ["*.a"]}))));
    assert_eq!(client.ask(r#"["publish","user.ann.a",1]"#), "[]");
    for room in ["user.ann.b", "public.a"] {
        assert_eq!(super::refusal(&mut client, &format!("[\"publish\",\"{room}\",1]")), "forbidden");
    }
}
