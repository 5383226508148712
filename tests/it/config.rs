//! The command line and the configuration, as the operator meets them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where something is missing")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const DEFAULT_CONFIG: &str = include_str!("../../config/broker.toml");

/// What a run of the program came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn success(stdout: &str) -> Self {
        Self { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
    }

    fn failure(code: i32, stderr: &str) -> Self {
        Self {
            code: Some(code),
            stdout: String::new(),
            stderr: format!("socketio-humble-broker: {stderr}\n"),
        }
    }
}

/// The program, with no configuration from outside.
fn broker(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_socketio-humble-broker"));
    command.args(arguments).env_clear();
    command
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(arguments: &[&str]) -> Outcome {
    outcome(&mut broker(arguments))
}

/// A file that lives as long as the folder that comes with it.
fn file(content: impl AsRef<[u8]>) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    fs::write(&file, content).unwrap();
    (folder, file.to_str().unwrap().to_owned())
}

/// The value of a key in what `--print-config` printed.
fn printed(outcome: &Outcome, section: &str, key: &str) -> String {
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let table: toml::Table = outcome.stdout.parse().unwrap();
    table[section][key].to_string()
}

#[test]
fn the_default_configuration_is_printed_as_it_is_shipped() {
    assert_eq!(run(&["--print-default-config"]), Outcome::success(DEFAULT_CONFIG));
}

#[test]
fn the_printed_configuration_loads_again_as_the_same() {
    let settings =
        ["--print-config", "--host", "::", "--admin-listen", "[::1]:9091", "--set", "drain.timeout=1h30m"];
    let first = run(&settings);
    assert_eq!(printed(&first, "drain", "timeout"), "\"1h 30m\"");
    let (_folder, file) = file(&first.stdout);
    assert_eq!(run(&["--print-config", "--config", &file]), first);
}

#[test]
fn the_command_line_of_the_python_broker_works_unchanged() {
    let defaults = run(&["--print-config"]);
    assert_eq!(printed(&defaults, "server", "host"), "\"0.0.0.0\"");
    assert_eq!(printed(&defaults, "server", "port"), "5000");
    let chosen = run(&["--host", "localhost", "--port=8000", "--print-config"]);
    assert_eq!(printed(&chosen, "server", "host"), "\"localhost\"");
    assert_eq!(printed(&chosen, "server", "port"), "8000");
    let repeated = run(&["--port", "1", "--port", "2", "--print-config"]);
    assert_eq!(printed(&repeated, "server", "port"), "2");
}

#[test]
fn each_layer_counts_more_than_the_one_below() {
    let (_folder, path) = file("[server]\nport = 1\nhost = '127.0.0.1'\nworkers = 1\n[log]\nlevel = 'off'");
    let mut command = broker(&["--port", "3", "--print-config", "--set", "log.format=json"]);
    command.env("HUMBLE_BROKER_CONFIG", &path);
    command.env("HUMBLE_BROKER_SERVER__PORT", "2").env("HUMBLE_BROKER_SERVER__WORKERS", "2");
    let config = outcome(&mut command);
    assert_eq!(printed(&config, "server", "port"), "3");
    assert_eq!(printed(&config, "server", "workers"), "2");
    assert_eq!(printed(&config, "server", "host"), "\"127.0.0.1\"");
    assert_eq!(printed(&config, "server", "path"), "\"/socket.io\"");
    assert_eq!(printed(&config, "log", "level"), "\"off\"");
    assert_eq!(printed(&config, "log", "format"), "\"json\"");

    command.args(["--set", "server.port=4", "--log-level", "debug"]);
    let config = outcome(&mut command);
    assert_eq!(printed(&config, "server", "port"), "4");
    assert_eq!(printed(&config, "log", "level"), "\"debug\"");

    let (_folder, other) = file("[server]\nworkers = 7\nport = 7");
    let config =
        outcome(broker(&["--config", &other, "--print-config"]).env("HUMBLE_BROKER_CONFIG", "/nowhere"));
    assert_eq!(printed(&config, "server", "port"), "7");
}

#[test]
fn a_valid_configuration_is_checked_in_one_line() {
    let (_folder, path) = file("");
    let expected = Outcome::success(&format!("the configuration is valid: {path}\n"));
    assert_eq!(run(&["--check-config", "--config", &path]), expected);
    let expected =
        "the configuration is valid: the defaults, as there is no /etc/socketio-humble-broker/broker.toml\n";
    assert_eq!(run(&["--check-config"]), Outcome::success(expected));
}

#[test]
fn a_mistake_in_the_file_is_shown_with_line_column_and_caret() {
    let (_folder, path) = file("[limits]\nmax_payload = 100\n");
    let message = "`100` is not a size; write a whole number and a unit, like `64 KiB`";
    let expected = format!("{path}:2:15: {message}\n  |\n2 | max_payload = 100\n  |               ^^^");
    for arguments in [vec![], vec!["--check-config"], vec!["--print-config"]] {
        let arguments = [arguments, vec!["--config", &path]].concat();
        assert_eq!(run(&arguments), Outcome::failure(78, &expected), "{arguments:?}");
    }
}

#[test]
fn each_kind_of_mistake_in_the_file_is_shown_where_it_is() {
    let cases = [
        ("[limits]\nnestign = 1", 2, 1, "unknown key `nestign`, expected one of `max_payload`, ", "^^^^^^^"),
        ("[limit]", 1, 2, "unknown key `limit`, expected one of `server`, ", "^^^^^"),
        ("[guests]\nanonymous = 'guest'", 1, 2, "unknown key `guests`, expected one of `server`, ", "^^^^^^"),
        (
            "[server]\nport = 'x'",
            2,
            8,
            "invalid type: string \"x\", expected a whole number from 0 to 65535",
            "^^^",
        ),
        (
            "[server]\nport = 65536",
            2,
            8,
            "invalid value: integer `65536`, expected a whole number from 0",
            "^^^^^",
        ),
        ("server = 1", 1, 10, "invalid type: integer `1`, expected a table", "^"),
        (
            "[log]\nformat = 'xml'",
            2,
            10,
            "unknown value `xml`, expected one of `auto`, `text`, `json`",
            "^^^^^",
        ),
        (
            "[socketio]\ntransports = []",
            2,
            14,
            "no transport is left; write `polling`, `websocket` or both",
            "^^",
        ),
        ("[socketio]\nping_timeout = '0s'", 2, 16, "`0s` is no time at all; write at least `1ms`", "^^^^"),
        (
            "[admin]\nlisten = 'unix:a'",
            2,
            10,
            "`a` is not the path of a socket; write an absolute path",
            "^^^^^^^^",
        ),
        (
            "[server]\nallowed_origins = ['*', 'a']",
            2,
            25,
            "`a` is not an origin; write `*`, or scheme",
            "^^^",
        ),
        (
            "[server]\nproxy_protocol = true",
            2,
            18,
            "nobody is trusted to send a header; write the proxies into `trusted_proxies`",
            "^^^^",
        ),
        (
            "[server]\ntrusted_proxies = ['unix', 'a']",
            2,
            28,
            "`a` is not a proxy; write an IP address, a network or `unix`",
            "^^^",
        ),
        (
            "[drain]\ntimeout = '9s'\nnotice = '9s'",
            3,
            10,
            "`timeout` is over by then; write less than that",
            "^^^^",
        ),
        ("[server.tls]\nkey = 'a'", 1, 1, "missing key `certificate`", "^^^^^^^^^^^^"),
        (
            "[server]\nunix_socket_mode = 0o660",
            2,
            20,
            "`432` is not a mode; write a zero and three octal digits",
            "^^^^^",
        ),
        // What is no TOML at all is not shown.
        ("[server\nport = 1", 1, 8, "unclosed table, expected `]`", ""),
        ("[server]\nport = 1\nport = 2", 3, 1, "duplicate key", ""),
    ];
    for (content, line, column, message, carets) in cases {
        let (_folder, path) = file(content);
        let outcome = run(&["--config", &path]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(78), ""), "{outcome:?}");
        let start = format!("socketio-humble-broker: {path}:{line}:{column}: {message}");
        assert!(outcome.stderr.starts_with(&start), "{outcome:?}");
        if carets.is_empty() {
            assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
            continue;
        }
        let shown = content.lines().nth(line - 1).unwrap();
        // No more of it than leads to what is wrong.
        let shown = shown.strip_suffix(" = 1").filter(|_| column == 1).unwrap_or(shown);
        let end = format!("\n  |\n{line} | {shown}\n  | {}{carets}\n", " ".repeat(column - 1));
        assert!(outcome.stderr.ends_with(&end), "{outcome:?}");
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_shown_where_it_is_not() {
    let (_folder, path) = file(b"[server]\nhost = '\xff'\n");
    let message = "this is not UTF-8, as all TOML must be";
    let expected = format!("{path}:2:9: {message}");
    assert_eq!(run(&["--check-config", "--config", &path]), Outcome::failure(78, &expected));
}

#[test]
fn a_file_that_was_named_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml").to_str().unwrap().to_owned();
    let expected = Outcome::failure(78, &format!("cannot read {missing}: there is no such file"));
    assert_eq!(run(&["--config", &missing]), expected);
    assert_eq!(outcome(broker(&["--check-config"]).env("HUMBLE_BROKER_CONFIG", &missing)), expected);
    assert_eq!(
        outcome(broker(&[]).env("HUMBLE_BROKER_CONFIG", "")),
        Outcome::failure(78, "cannot read : there is no such file")
    );
}

#[test]
fn a_folder_is_not_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(
        run(&["--config", path]),
        Outcome::failure(78, &format!("cannot read {path}: is a directory"))
    );
}

#[test]
fn a_mistake_in_a_flag_or_a_variable_names_it() {
    let cases = [
        (vec!["--host", "a b"], "--host: `a b` is not a host; write an IP address or a name, without a port"),
        (
            vec!["--admin-listen", "9091"],
            "--admin-listen: `9091` is not an address; write an IP address and a port",
        ),
        (
            vec!["--log-level", "loud"],
            "--log-level: `loud` is not a level; write one of off, error, warn, info",
        ),
        (
            vec!["--set", "limits.nesting=0"],
            "--set limits.nesting: `0` is not a depth; write a number from 1 to 128",
        ),
        (vec!["--set", "limits.x=0"], "--set limits.x: unknown key `x`, expected one of `max_payload`, "),
        (vec!["--set", "server.tls.key=a"], "--set server.tls.key: missing key `certificate`"),
        (
            vec!["--set", "server.proxy_protocol=true"],
            "--set server.proxy_protocol: nobody is trusted to send a header; write the proxies into",
        ),
        (vec!["--set", "server.allowed_origins=[a]"], "--set server.allowed_origins: this is not a value: "),
    ];
    for (arguments, message) in cases {
        let outcome = run(&arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(78), ""), "{outcome:?}");
        assert!(outcome.stderr.starts_with(&format!("socketio-humble-broker: {message}")), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
    let cases: [(&str, &[u8], &str); 6] = [
        ("HUMBLE_BROKER_ADMIN__LISTEN", b"9091", "`9091` is not an address; write an IP address and a port"),
        (
            "HUMBLE_BROKER_DRAIN__TIMEOUT",
            b"25",
            "`25` is not a length of time; write a number and a unit, like `5s`",
        ),
        ("HUMBLE_BROKER_DRAIN__TIMEOUTS", b"25s", "unknown key `timeouts`, expected one of `notice`, "),
        ("HUMBLE_BROKER_DRAINS__TIMEOUT", b"25s", "unknown key `drains`, expected one of `server`, "),
        ("HUMBLE_BROKER_DRAIN_TIMEOUT", b"25s", "names no key; write it like `HUMBLE_BROKER_SERVER__PORT`"),
        ("HUMBLE_BROKER_SERVER__HOST", b"\xff", "its value is not UTF-8"),
    ];
    for (name, value, message) in cases {
        let outcome = outcome(broker(&["--check-config"]).env(name, OsStr::from_bytes(value)));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(78), ""), "{outcome:?}");
        assert!(
            outcome.stderr.starts_with(&format!("socketio-humble-broker: {name}: {message}")),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_is_a_usage_error() {
    let setting =
        "invalid value '[redacted]' for '--set <SECTION.KEY=VALUE>': write it as `section.key=value`";
    let cases = [
        (vec!["--nonsense"], "unexpected argument '--nonsense' found"),
        (vec!["serve"], "unrecognized subcommand 'serve'"),
        (vec!["--config"], "a value is required for '--config <FILE>' but none was supplied"),
        (vec!["--port", "65536"], "invalid value '65536' for '--port <PORT>': 65536 is not in 0..=65535"),
        (vec!["--set", "x"], setting),
        (vec!["--set", "port=1"], setting),
        (vec!["--set", "server.=1"], setting),
        (
            vec!["--check-config", "--print-config"],
            "the argument '--check-config' cannot be used with '--print-config'",
        ),
    ];
    for (arguments, message) in cases {
        let outcome = run(&arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(64), ""), "{outcome:?}");
        assert!(outcome.stderr.starts_with(&format!("socketio-humble-broker: {message}\n")), "{outcome:?}");
        assert!(outcome.stderr.ends_with("\n\nFor more information, try '--help'.\n"), "{outcome:?}");
    }
}

#[test]
fn the_version_is_the_name_and_the_number() {
    let expected = concat!("socketio-humble-broker ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&["--version"]), Outcome::success(expected));
}

#[test]
fn the_help_names_every_flag() {
    let outcome = run(&["--help"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let flags = [
        "--config",
        "--host",
        "--port",
        "--admin-listen",
        "--log-level",
        "--set",
        "--check-config",
        "--print-config",
        "--print-default-config",
        "--healthcheck",
        "--version",
        "--help",
    ];
    for flag in flags {
        assert!(outcome.stdout.contains(&format!(" {flag}")), "{flag}");
    }
}

#[test]
fn a_health_check_knows_only_0_and_1() {
    for arguments in [vec!["--healthcheck", "--port", "0"], vec!["--healthcheck", "--config", "/nowhere"]] {
        let outcome = run(&arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:?}");
        assert!(outcome.stderr.starts_with("socketio-humble-broker: cannot "), "{outcome:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = broker(&["--print-default-config"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_disk_is_said() {
    let full = fs::File::options().write(true).open(PathBuf::from("/dev/full")).unwrap();
    let output = broker(&["--print-config"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write to the standard output"));
}
