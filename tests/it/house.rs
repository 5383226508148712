//! The rules of the house that no compiler checks, read off the source text.

use std::fs;
use std::path::Path;

/// The floor of each module; one uses those on its own floor and below.
const FLOORS: [(u8, &[&str]); 9] = [
    (0, &["protocol", "failure"]),
    (1, &["config"]),
    (2, &["wire", "telemetry"]),
    (3, &["access"]),
    (5, &["relay"]),
    (6, &["broker"]),
    (7, &["http"]),
    (8, &["daemon"]),
    (9, &["cli"]),
];

/// What only these modules may name. A crate stands for its family, `hyper` for `hyper_util` too.
const SEAMS: [(&str, &[&str]); 22] = [
    (
        "socketioxide",
        &["broker::admit", "broker::dispatch", "broker::engine", "broker::shown", "broker::sockets"],
    ),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("tokio_rustls", &["http::encrypted", "http::keys", "http::tls", "relay::files", "relay::nats::tls"]),
    ("hyper_rustls", &["http::keys"]),
    ("percent_encoding", &["http::credentials", "relay::nats::subject"]),
    ("proxy_header", &["http::proxy_protocol"]),
    ("jsonwebtoken", &["access", "cli::token"]),
    ("x509_parser", &["access::certificate"]),
    ("aho_corasick", &["access::pieces"]),
    ("rmp_serde", &["broker::message", "broker::shown", "relay::emitters::properties"]),
    // A module is called as the crate.
    ("redis", &["config", "relay", "relay::redis", "relay::connection", "relay::emitters"]),
    ("crc", &["relay::redis::slots"]),
    ("ipnet", &["config::proxies"]),
    ("tracing_journald", &["telemetry::journal"]),
    ("metrics_process", &["telemetry::runtime"]),
    ("tokio_metrics", &["telemetry::runtime"]),
    ("signal_hook", &["daemon::signals"]),
    ("nix", &["daemon::descriptors"]),
    ("listenfd", &["daemon::inherited"]),
    ("tracing", &["telemetry", "wire", "relay", "broker", "http", "daemon", "cli"]),
    ("config::Config", &["config", "daemon", "cli"]),
];

/// Most lines of a file before its tests.
const LINES: usize = 300;

/// What is wrong with a source file, as `path:line: sentence`; `path` is below `src`.
fn faults(path: &str, source: &str) -> Vec<String> {
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let top = module.split("::").next().unwrap_or_default();
    let floor =
        |name: &str| FLOORS.iter().find(|(_, modules)| modules.contains(&name)).map(|(floor, _)| *floor);
    let mut faults = Vec::new();
    let mut fault = |line: usize, text: String| faults.push(format!("src/{path}:{line}: {text}"));

    if !source.starts_with("//!") {
        fault(1, "does not begin with `//!` and what the file is for".into());
    }
    let lines = source.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    // Properties are nothing but tests.
    if lines > LINES && !path.ends_with("/properties.rs") {
        fault(LINES + 1, format!("{lines} lines before its tests, more than {LINES}"));
    }
    // The map of the house and `main` stand outside.
    if floor(top).is_none() && !["lib", "main"].contains(&top) {
        fault(1, format!("`{top}` has no floor"));
    }
    for (line, text) in (1..).zip(source.lines()) {
        if text.contains("TODO") {
            fault(line, "TODO: do it, or file an issue".into());
        }
        let code = text.split("//").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            let used = rest.split(|letter| !is_of_word(letter)).next().unwrap_or_default();
            if used.is_empty() || rest.contains(['{', '*']) && text.trim_start().starts_with("use ") {
                fault(line, "one path per line after `crate::`".into());
            } else if floor(top).is_some_and(|own| floor(used).is_some_and(|used| used > own)) {
                fault(line, format!("`{top}` uses `{used}`, which stands on a higher floor"));
            }
        }
        // In the module of the tests everything is one level further down.
        let depth = module.split("::").count() + usize::from(line > lines);
        if code.contains(&"super::".repeat(depth)) {
            fault(line, "write `crate::` for what is at the root".into());
        }
        for (name, allowed) in SEAMS {
            let may = allowed.iter().any(|seam| module == *seam || top == *seam);
            if !may && names(code, name) {
                fault(line, format!("`{module}` names `{name}`; only {} may", allowed.join(", ")));
            }
        }
    }
    faults
}

/// Whether `code` names the item `name`, or something of the crate or its family.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = &code[at + name.len()..];
        let rest = after.trim_start_matches(is_of_word);
        let named = rest.len() == after.len() || !name.contains("::");
        // Not a word in a string, such as a level of the log.
        let path = rest.starts_with([':', ';', ',', '}']) || rest.starts_with(" as ") || name.contains("::");
        named && path && !code[..at].ends_with(is_of_word)
    })
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[test]
fn every_source_file_keeps_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut read, mut faulty) = (vec![root.clone()], 0, Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                faulty.extend(faults(name, &fs::read_to_string(&path).unwrap()));
                read += 1;
            }
        }
    }
    assert!(read > FLOORS.len(), "only {read} files were read");
    assert!(faulty.is_empty(), "\n{}", faulty.join("\n"));
}

#[test]
fn every_rule_of_the_house_can_fail() {
    let long = "\n".repeat(LINES);
    for (path, line, code) in [
        ("wire/link.rs", 2, "use crate::broker::Broker;"),
        ("failure.rs", 2, "fn port(config: &crate::config::Server) {}"),
        ("http/public.rs", 2, "use crate::{wire, telemetry};"),
        ("http/mod.rs", 2, "use crate::config::{Config, Server};"),
        ("http/mod.rs", 2, "use crate::config::*;"),
        ("wire/link.rs", 2, "use super::super::broker::Broker;"),
        ("wire/mod.rs", 2, "use super::broker::Broker;"),
        ("wire/link.rs", 4, "#[cfg(test)]\nmod tests {\n    use super::super::super::broker::Broker;"),
        ("broker/deliver.rs", 2, "use socketioxide_core::Value;"),
        ("daemon/mod.rs", 2, "let routes = axum::Router::new();"),
        ("daemon/mod.rs", 2, "use axum as web;"),
        ("wire/guard.rs", 2, "use hyper_util::rt::TokioIo;"),
        ("http/probe.rs", 2, "use tokio_rustls::TlsConnector;"),
        ("http/peer.rs", 2, "use proxy_header::ProxyHeader;"),
        ("http/peer.rs", 2, "use ipnet::IpNet;"),
        ("telemetry/log.rs", 2, "use tracing_journald::Layer;"),
        ("telemetry/metrics.rs", 2, "use metrics_process::Collector;"),
        ("daemon/mod.rs", 2, "use tokio_metrics::RuntimeMonitor;"),
        ("daemon/drain.rs", 2, "use signal_hook::consts::SIGTERM;"),
        ("http/tls.rs", 2, "use hyper_rustls::HttpsConnector;"),
        ("http/tls.rs", 2, "use percent_encoding::percent_decode_str;"),
        ("broker/admit.rs", 2, "let auth = rmp_serde::from_slice(bytes);"),
        ("broker/admit.rs", 2, "use jsonwebtoken::Header;"),
        ("cli/access.rs", 2, "use jsonwebtoken::Header;"),
        ("access/role.rs", 2, "use x509_parser::x509::X509Name;"),
        ("access/index.rs", 2, "use aho_corasick::AhoCorasick;"),
        ("access/role.rs", 2, "use crate::broker::Broker;"),
        ("config/access.rs", 2, "use crate::access::Access;"),
        ("protocol/mod.rs", 2, "tracing::warn!(\"\");"),
        ("http/mod.rs", 2, "use crate::config::Config;"),
        ("history/mod.rs", 1, "struct History;"),
        ("cli.rs", 2, "// TODO"),
        ("wire/link.rs", LINES + 1, long.as_str()),
    ] {
        let found = faults(path, &format!("//! A file.\n{code}\n#[cfg(test)]\n"));
        assert_eq!(found.len(), 1, "{path}: {code}: {found:?}");
        assert!(found[0].starts_with(&format!("src/{path}:{line}: ")), "{code}: {found:?}");
    }
    assert_eq!(faults("wire/link.rs", "use std::fmt;").len(), 1, "a file that does not say what it is for");
    let fine = "//! A file.\nuse super::frame;\nuse crate::telemetry::Log; // not crate::broker\n\
        const LEVEL: &str = \"socketioxide=off\";\n#[cfg(test)]\nuse super::super::wire;\n";
    assert_eq!(faults("wire/link.rs", &format!("{fine}{long}")), Vec::<String>::new());
}
