//! The ways to install: docs/install.md is short and names what is there, and each recipe has our version.

use std::path::Path;

use crate::support::documents::fenced;
use crate::support::documents::read;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The paths of the project in `text`: those that begin like one of its folders.
fn paths(text: &str) -> Vec<&str> {
    let folders = ["config/", "docs/", "packaging/", "scripts/", "systemd/", "../"];
    text.split(|letter: char| letter.is_whitespace() || ['`', '(', ')', '[', ']', '#', ','].contains(&letter))
        .filter(|word| folders.iter().any(|folder| word.starts_with(folder)))
        .map(|word| word.trim_end_matches(['.', ':', ';']))
        .collect()
}

fn is_missing(path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Links are seen from the guide.
    !root.join(path.strip_prefix("../").unwrap_or(path)).exists()
}

/// The numbers in `text` that are versions of the broker, which stand behind its name.
fn versions(text: &str) -> Vec<&str> {
    let number = |rest: &'_ str| rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    text.split("socketio-humble-broker")
        .skip(1)
        .filter_map(|rest| rest.strip_prefix(['-', '_', ':', ' ']))
        .filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
        .map(|rest| rest[..number(rest).unwrap_or(rest.len())].trim_end_matches('.'))
        .collect()
}

#[test]
fn every_way_to_install_takes_three_commands_at_most_and_names_what_is_there() {
    let guide = read("docs/install.md");
    let ways: Vec<&str> = fenced(&guide, "sh").collect();
    assert!(ways.len() >= 8, "{ways:?}");
    for way in ways {
        assert!((1..=3).contains(&way.lines().count()), "{way}");
    }
    let paths = paths(&guide);
    assert!(paths.len() >= 8, "{paths:?}");
    let missing: Vec<_> = paths.into_iter().filter(|path| is_missing(path)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_version_that_a_document_names_is_that_of_the_manifest() {
    for document in ["README.md", "docs/install.md"] {
        let text = read(document);
        let named = versions(&text);
        assert!(!named.is_empty(), "{document}");
        assert!(named.iter().all(|version| *version == VERSION), "{document}: {named:?}");
    }
}

#[test]
fn every_recipe_has_the_version_of_the_manifest() {
    for (recipe, key) in [
        ("packaging/arch/PKGBUILD", "pkgver="),
        ("packaging/alpine/APKBUILD", "pkgver="),
        ("Dockerfile", "ARG VERSION="),
    ] {
        let text = read(recipe);
        let stated: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(key)).collect();
        assert_eq!(stated, [VERSION], "{recipe}");
    }
    let nix = read("packaging/nix/default.nix");
    assert!(nix.contains("builtins.fromTOML (builtins.readFile ../../Cargo.toml)"), "{nix}");
    assert!(nix.contains("inherit (manifest) version;"), "{nix}");
}

#[test]
fn what_is_wrong_in_a_guide_is_found() {
    let guide = "See [it](../docs/nothing.md#there) and `scripts/nothing.sh`, scripts/ci.sh.\n\
        cp socketio-humble-broker-9.9.9.tar.gz socketio-humble-broker:8.8.8 # socketio-humble-broker.service";
    let missing: Vec<_> = paths(guide).into_iter().filter(|path| is_missing(path)).collect();
    assert_eq!(missing, ["../docs/nothing.md", "scripts/nothing.sh"]);
    assert_eq!(versions(guide), ["9.9.9", "8.8.8"]);
}
