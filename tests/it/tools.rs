//! The tools beside the broker: tokens that they make, and what they say about access.

use std::fs;
use std::process::Output;

use tempfile::TempDir;

use crate::support::daemon::command;

/// Runs a tool; its exit code, and what it prints.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command().args(arguments).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// A folder with a configuration and the secret that it names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "a secret of at least 32 bytes, as it must be\n").unwrap();
    let text = format!(
        "[access]\nanonymous = 'guest'\n\
         [access.jwt]\nalgorithms = ['HS256']\nkey_file = '{}/secret'\n\
         [access.roles.guest]\nsubscribe = {{ allow = ['public.*'] }}\n\
         [access.roles.user]\nbroadcast = true\npublish = {{ allow = ['user.{{sub}}.*'], deny = ['*.x'] }}\n",
        folder.path().display()
    );
    fs::write(folder.path().join("broker.toml"), text).unwrap();
    folder
}

#[test]
fn a_new_token_is_random_and_comes_with_its_hash() {
    let (code, text) = run(&["token", "new"]);
    assert_eq!(code, Some(0));
    let made: toml::Table = text.parse().unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(token.len(), 43, "256 bits in base64");
    assert_eq!(
        made["token_sha256"].as_str(),
        Some(humble_broker::access::Secret::of(token).to_hex().as_str())
    );
    assert_ne!(run(&["token", "new"]).1, text);
}

#[test]
fn access_is_explained_by_the_rule_that_decides() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, secret) = (path("broker.toml"), path("secret"));
    let (code, token) = run(&["token", "sign", "--key-file", &secret, "--role", "user", "--sub", "jo"]);
    assert_eq!(code, Some(0), "{token}");
    let token = token.trim_end();
    fs::write(folder.path().join("token"), token).unwrap();
    let token_file = path("token");
    let asked = ["access", "test", "--config", &config];
    for (arguments, code, expected) in [
        (vec!["--subscribe", "public.a"], 0, "role `guest`: allowed by `public.*`\n"),
        (vec!["--publish", "public.a"], 1, "role `guest`: forbidden: allowed by no pattern\n"),
        (vec!["--broadcast"], 1, "role `guest`: forbidden: the role may not broadcast\n"),
        (vec!["--token", token, "--publish", "user.jo.a"], 0, "role `user`: allowed by `user.{sub}.*`\n"),
        (vec!["--token", token, "--publish", "user.jo.x"], 1, "role `user`: forbidden: denied by `*.x`\n"),
        (vec!["--token-file", &token_file, "--broadcast"], 0, "role `user`: the role may broadcast\n"),
        (vec!["--token", "a.b.c", "--broadcast"], 1, "refused: it is no signed token\n"),
    ] {
        let outcome = run(&[asked.as_slice(), &arguments].concat());
        assert_eq!(outcome, (Some(code), expected.to_owned()), "{arguments:?}");
    }
    assert_eq!(run(&asked).0, Some(64), "neither of the three is asked");
    let both = ["--broadcast", "--publish", "a"];
    assert_eq!(run(&[asked.as_slice(), &both].concat()).0, Some(64));
}

#[test]
fn what_a_key_cannot_sign_is_refused() {
    let folder = folder();
    let secret = folder.path().join("secret");
    let secret = secret.to_str().unwrap();
    let (code, text) = run(&["token", "sign", "--key-file", secret, "--algorithm", "RS256"]);
    assert_eq!((code, text.ends_with("secret: it is no key for RS256\n")), (Some(78), true), "{text}");
    let missing = format!("{secret}s");
    let (code, text) = run(&["token", "sign", "--key-file", &missing]);
    assert_eq!((code, text.ends_with("secrets: there is no such file\n")), (Some(64), true), "{text}");
    assert_eq!(run(&["token", "sign", "--key-file", secret, "--claim", "a"]).0, Some(64));
    assert_eq!(run(&["token", "sign", "--key-file", secret, "--expires", "1"]).0, Some(64));
}
