//! Mistakes in which there may be a secret: whatever they look like, nobody is told what was written.

use std::fs;

use humble_broker::config::Config;
use humble_broker::config::Sources;

use crate::support::daemon::command;

/// What no error may repeat; the second is one that is written without quotes.
const SECRETS: [&str; 2] = ["SECRET", "7355608"];

/// Values in the place of which none, another, or only a part of it belongs.
const VALUES: [&str; 36] = [
    "'SECRET'",
    "\"SECRET\"",
    "7355608",
    "7355608.5",
    "-7355608",
    "SECRET",
    "'SECRET",
    "\"SECRET\\q\"",
    "'''\nSECRET'''",
    "'''\nSECRET",
    "\"\"\"\nSECRET\n\"\"\"",
    "['SECRET']",
    "[7355608]",
    "[['SECRET']]",
    "[\n  'SECRET',\n  7,\n]",
    "[\n  'SECRET',\n  'SECRET'\n  'SECRET',\n]",
    "[\n  [7],\n  'SECRET',\n",
    "[\n  'SECRET\n]",
    "['SECRET'",
    "['SECRET', 'a]",
    "['a', 7355608, 'SECRET']",
    "{ SECRET = 'a' }",
    "{ a = 'SECRET' }",
    "{ token = 'SECRET', role = 'a' }",
    "{\n  token = 'SECRET',\n  role = 7,\n}",
    "[{ token = 'SECRET', role = 'a' }]",
    "[{ role = 'a', token_sha256 = 'SECRET' }]",
    "[{ role = 'a', token_sha256 = ['SECRET'] }]",
    "[\n{ role = 'a',\n token_sha256 = 'SECRET' }, { 'SECRET' = 7 }]",
    "'`SECRET` is not a path, expected SECRET, expected `SECRET'",
    "\"\\\"SECRET\\\", expected \\\"SECRET\\\"\"",
    "'$SECRET'",
    "'*}SECRET'",
    "'https://a:SECRET@id.example/'",
    "'SECRET' 'SECRET'",
    "1979-05-27T07:32:00.7355608Z",
];

/// What leads to a value, and what follows it.
const PLACES: [(&str, &str); 52] = [
    ("access = ", ""),
    ("\"acc\\u0065ss\".tokens = ", ""),
    ("access.token = ", ""),
    ("access = { tokens = ", " }"),
    ("access = { anonymous = 7, tokens = ", " }"),
    ("access = {\n tokens = ", ",\n anonymous = 7 }"),
    ("[access]\nanonymous = ", ""),
    ("[access]\ntokens = ", ""),
    ("[access]\ntokens = [", "]"),
    ("[access]\ntokens = [\n[7],\n", "\n]"),
    ("[access]\ntokens = [{ token = ", ", role = 'a' }]"),
    ("[access]\ntokens = [{ role = 7, token_file = ", " }]"),
    ("[access]\njwt = ", ""),
    ("[access]\ncertificates = ", ""),
    ("[access]\nroles = ", ""),
    ("[access]\nsecret = ", ""),
    ("[access.tokens]\nSECRET = ", ""),
    ("[[access.tokens]]\nSECRET = ", ""),
    ("[[access.tokens]]\nrole = 'a'\ntoken = ", ""),
    ("[[access.tokens]]\nrole = 7\ntoken_file = ", ""),
    ("[[access.tokens]]\nrole = 'a'\ntoken_sha256 = ", ""),
    ("[[access.tokens]]\ntoken_file = 'a'\nrole = ", ""),
    ("[[access.tokens.SECRET]]\nrole = ", ""),
    ("[access.jwt]\nalgorithms = ", ""),
    ("[access.jwt]\nalgorithms = ['HS256']\nkey_file = 'a'\nsecret = ", ""),
    ("[access.jwt]\nalgorithms = ['HS256']\nkey_file = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_file = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_url = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_file = 'a'\nissuer = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_file = 'a'\naudience = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_file = 'a'\nleeway = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_file = 'a'\nrole_claim = ", ""),
    ("[access.jwt]\nalgorithms = ['RS256']\njwks_file = 'a'\nrole = ", ""),
    ("[[access.certificates]]\nrole = 'a'\nsan = ", ""),
    ("[[access.certificates]]\nrole = 'a'\nsubject = ", ""),
    ("[[access.certificates]]\nsan = 'a'\nrole = ", ""),
    ("[access]\nanonymous = 'a'\n[access.roles.a]\nsubscribe = ", ""),
    ("[access]\nanonymous = 'a'\n[access.roles.a]\npublish.allow = ", ""),
    ("[access]\nanonymous = 'a'\n[access.roles.a]\nbroadcast = ", ""),
    ("[access]\nanonymous = 'a'\n[access.roles.a]\nlimits = ", ""),
    ("[access]\nanonymous = 'a'\n[access.roles.a.limits]\nbytes_per_second = ", ""),
    ("[access]\nanonymous = 'a'\n[access.roles.a.limits]\nrooms_per_client = ", ""),
    ("[admin]\ntoken = ", ""),
    ("[admin]\nlisten = ['a']\ntoken = ", ""),
    ("admin = { listen = 7, token = ", " }"),
    ("admin = { token = ", ", listen = 7 }"),
    ("token = ", ""),
    ("acces.tokens = ", ""),
    ("Access.tokens = ", ""),
    ("[acces]\ntokens = ", ""),
    ("[limits]\ntokens = ", ""),
    ("server = { access = { tokens = ", " } , port = 'a' }"),
];

/// What is said of this configuration, if anything is.
fn error(text: &[u8], variable: Option<(&str, &str)>, setting: Option<&str>) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    fs::write(&file, text).unwrap();
    let settings = setting.map(str::parse).transpose();
    let variables = variable.into_iter().map(|(name, value)| (name.into(), value.into()));
    let settings = match settings {
        Ok(settings) => settings.into_iter().collect(),
        Err(error) => return Some(error),
    };
    let loaded = Sources::new(Some(file), variables, settings).and_then(|sources| Config::load(&sources));
    loaded.err().map(|error| error.to_string())
}

/// That `error` repeats none of what was written.
fn assert_discreet(error: Option<String>, written: &str) -> bool {
    let Some(error) = error else { return false };
    for secret in SECRETS {
        assert!(!error.contains(secret), "{written}\n{error}");
    }
    true
}

#[test]
fn nothing_is_repeated_of_a_file_where_there_may_be_a_secret() {
    let mut errors = 0;
    for (before, after) in PLACES {
        for value in VALUES {
            for rest in ["", "\n[limits]\nnesting = 'a'\n", "\n[server\n"] {
                let text = format!("# Comment\n{before}{value}{after}{rest}");
                errors += usize::from(assert_discreet(error(text.as_bytes(), None, None), &text));
            }
        }
        let text = [before.as_bytes(), b"'SECRET\xff'\n"].concat();
        assert!(assert_discreet(error(&text, None, None), before));
    }
    // The others are right, such as the name of an issuer.
    let tried = PLACES.len() * VALUES.len() * 3;
    assert!(errors * 100 > tried * 95, "{errors} of {tried}");
}

#[test]
fn nothing_is_repeated_of_a_variable_or_a_flag_where_there_may_be_a_secret() {
    let mut errors = 0;
    let keys =
        ["anonymous", "tokens", "token", "jwt", "certificates", "roles", "tokens.role", "jwt.key_file"];
    for value in VALUES {
        for key in keys {
            let variable = key.replace('.', "__");
            for name in [
                format!("HUMBLE_BROKER_ACCESS__{}", variable.to_uppercase()),
                format!("HUMBLE_BROKER_access__{variable}"),
                format!("HUMBLE_BROKER_Access__{variable}"),
                format!("HUMBLE_BROKER_ACCES__{variable}"),
                format!("HUMBLE_BROKER_ACCESS_{variable}"),
            ] {
                let told = error(b"", Some((&name, value)), None);
                errors += usize::from(assert_discreet(told, &format!("{name}={value}")));
            }
            for setting in [
                format!("access.{key}={value}"),
                format!("ACCESS.{key} = {value}"),
                format!("acces.{key}={value}"),
                format!("access..{key}={value}"),
                format!("{key}={value}"),
            ] {
                errors += usize::from(assert_discreet(error(b"", None, Some(&setting)), &setting));
            }
        }
    }
    assert!(errors * 100 > VALUES.len() * keys.len() * 10 * 95, "{errors}");
}

#[test]
fn the_program_itself_repeats_none_of_it() {
    for setting in [
        "access.tokens=['SECRET']",
        "access.tokens=[{token='SECRET'}",
        "access.tokens=['SECRET]",
        "access.token='SECRET'",
        "access.tokens SECRET",
        "access=SECRET",
        "tokens=['SECRET']",
        "access..tokens=SECRET",
    ] {
        let output = command().args(["--check-config", "--set", setting]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(64 | 78)), "{setting}: {error}");
        assert!(!error.is_empty() && !error.contains("SECRET"), "{setting}: {error}");
    }
    let output =
        command().arg("--check-config").env("HUMBLE_BROKER_access__tokens", "['SECRET']").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("HUMBLE_BROKER_access__tokens: ") && !error.contains("SECRET"), "{error}");
}
