//! The runbook, docs/operations.md: what it names is there, and no alert is without a section.

use std::collections::BTreeSet;
use std::fs;

use crate::support::daemon::command;
use crate::support::documents::fenced;
use crate::support::documents::read;

type Names = BTreeSet<String>;

/// The words of letters, digits, underscores, hyphens and dots, without dots at their ends.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let of_word = |letter: char| letter.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&letter);
    text.split(move |letter| !of_word(letter))
        .map(|word| word.trim_matches('.'))
        .filter(|word| !word.is_empty())
}

fn metrics(text: &str) -> Names {
    let families = ["humble_broker_", "process_", "tokio_"];
    words(text)
        .filter(|word| families.iter().any(|family| word.starts_with(family)))
        .map(str::to_owned)
        .collect()
}

fn alerts(text: &str) -> Names {
    words(text)
        .filter(|word| word.strip_prefix("HumbleBroker").is_some_and(|rest| !rest.is_empty()))
        .map(str::to_owned)
        .collect()
}

/// `section.key`, of the sections that there are.
fn keys(text: &str) -> Names {
    let sections = ["server", "admin", "socketio", "limits", "relay", "drain", "log"];
    words(text)
        // docs/relay.md is a file and no key.
        .filter(|word| {
            word.split_once('.').is_some_and(|(section, key)| sections.contains(&section) && key != "md")
        })
        .map(str::to_owned)
        .collect()
}

/// Every key of config/broker.toml, also those that are not set there.
fn known_keys() -> Names {
    let mut section = String::new();
    let mut keys = Names::new();
    for line in read("config/broker.toml").lines() {
        let line = line.trim_start_matches("# ");
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
            keys.insert(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ")
            && words(key).eq([key])
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

/// The metrics of docs/metrics.md, which are those of a scrape.
fn known_metrics() -> Names {
    let rows = read("docs/metrics.md");
    let name = |row: &str| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    rows.lines().filter_map(name).filter(|name| metrics(name).contains(name)).collect()
}

/// The alerts, each with the place that its annotation points to.
fn known_alerts() -> Vec<(String, String)> {
    let rules = read("packaging/prometheus/alerts.yml");
    let values = |key: &str| -> Vec<String> {
        let value =
            |line: &str| Some(line.trim_start_matches([' ', '-']).strip_prefix(key)?.trim().to_owned());
        rules.lines().filter_map(value).collect()
    };
    let (alerts, places) = (values("alert:"), values("runbook:"));
    assert_eq!(alerts.len(), places.len(), "an alert without a runbook");
    alerts.into_iter().zip(places).collect()
}

/// What is named and not known.
fn unknown(named: &Names, known: &Names) -> Vec<String> {
    named.difference(known).cloned().collect()
}

#[test]
fn every_metric_and_every_key_of_the_runbook_exists() {
    let runbook = read("docs/operations.md");
    let (metrics, keys) = (metrics(&runbook), keys(&runbook));
    assert!(metrics.len() >= 10 && keys.len() >= 10, "{metrics:?} {keys:?}");
    assert_eq!(unknown(&metrics, &known_metrics()), [""; 0]);
    assert_eq!(unknown(&keys, &known_keys()), [""; 0]);
}

#[test]
fn every_alert_has_a_section_of_the_runbook_and_it_names_no_other() {
    let runbook = read("docs/operations.md");
    let sections: Names =
        runbook.lines().filter_map(|line| Some(line.strip_prefix("### ")?.to_owned())).collect();
    let known = known_alerts();
    assert!(known.len() >= 20, "{known:?}");
    for (alert, place) in &known {
        assert!(sections.contains(alert), "{alert} has no section");
        assert_eq!(*place, format!("docs/operations.md#{}", alert.to_lowercase()));
    }
    let known = known.into_iter().map(|(alert, _)| alert).collect();
    assert_eq!(unknown(&alerts(&runbook), &known), [""; 0]);
}

#[test]
fn every_configuration_in_the_runbook_is_accepted() {
    let runbook = read("docs/operations.md");
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for text in fenced(&runbook, "toml") {
        let file = folder.path().join("broker.toml");
        fs::write(&file, text).unwrap();
        let output = command().arg("--print-config").arg("--config").arg(&file).output().unwrap();
        assert!(output.status.success(), "{text}\n{output:?}");
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn what_does_not_exist_is_found() {
    let text = "Look at `humble_broker_nothing{a=\"b\"}`, `limits.nothing`.\n\n### HumbleBrokerNothing\n";
    assert_eq!(unknown(&metrics(text), &known_metrics()), ["humble_broker_nothing"]);
    assert_eq!(unknown(&keys(text), &known_keys()), ["limits.nothing"]);
    assert_eq!(alerts(text), Names::from(["HumbleBrokerNothing".to_owned()]));
    let real = "`humble_broker_draining`, `limits.send_queue`, `server.tls.key`, `admin.control_socket`";
    assert_eq!(unknown(&metrics(real), &known_metrics()), [""; 0]);
    assert_eq!(unknown(&keys(real), &known_keys()), [""; 0]);
}
