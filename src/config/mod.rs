//! What the operator says: the configuration, valid by construction.
//!
//! `config/broker.toml` explains every key to operators; the fields of the sections say the same to
//! readers of the code. Defaults are stated in the `Default` of each section and nowhere else.

mod access;
mod admin;
mod changes;
mod contradiction;
mod discretion;
mod drain;
mod error;
mod file;
mod jwt;
mod limits;
mod log;
mod origins;
mod pattern;
mod proxies;
mod relay;
mod server;
mod server_url;
mod sha256;
mod socket;
mod socketio;
mod sources;
mod table;
mod text;
mod tls;
mod units;

use serde::Deserialize;
use serde::Serialize;
use toml::de::Deserializer;

use contradiction::Contradiction;

pub use access::Access;
pub use access::Certificate;
pub use access::Role;
pub use access::RoleLimits;
pub use access::Rules;
pub use access::StaticToken;
pub use admin::Admin;
pub use admin::Listen;
pub use changes::Reloaded;
pub use drain::Drain;
pub use error::Error;
pub use file::FilePath;
pub use jwt::Algorithm;
pub use jwt::Jwt;
pub use limits::HeaderSize;
pub use limits::Limits;
pub use limits::Nesting;
pub use limits::SlowConsumer;
pub use log::Filter;
pub use log::Format;
pub use log::Log;
pub use origins::Origins;
pub use pattern::Part;
pub use pattern::Pattern;
pub use proxies::Proxies;
pub use relay::Nats;
pub use relay::Redis;
pub use relay::Relay;
pub use relay::RelayTls;
pub use server::Host;
pub use server::RequestPath;
pub use server::Server;
pub use server_url::NatsUrl;
pub use server_url::RedisUrl;
pub use server_url::Servers;
pub use sha256::Sha256;
pub use socket::SocketMode;
pub use socket::SocketPath;
pub use socketio::SocketIo;
pub use socketio::Transports;
pub use sources::DEFAULT_FILE;
pub use sources::Override;
pub use sources::Sources;
pub use tls::Tls;
pub use units::ByteSize;
pub use units::Capacity;
pub use units::Delay;
pub use units::Period;

/// The file that the packages install: every key at its default, explained.
pub const SHIPPED: &str = include_str!("../../config/broker.toml");

/// Everything that the operator may choose.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Config {
    /// Where and for whom the broker listens.
    #[serde(deserialize_with = "table::one")]
    pub server: Server,
    /// What operators ask while it runs.
    #[serde(deserialize_with = "table::one")]
    pub admin: Admin,
    /// How clients are spoken to.
    #[serde(deserialize_with = "table::one")]
    pub socketio: SocketIo,
    /// What one client may cost the others, and the node.
    #[serde(deserialize_with = "table::one")]
    pub limits: Limits,
    /// Who clients are, and what each may do; without it everyone may do everything.
    #[serde(deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The server over which several brokers act as one.
    #[serde(deserialize_with = "table::one")]
    pub relay: Relay,
    /// How the broker stops.
    #[serde(deserialize_with = "table::one")]
    pub drain: Drain,
    /// What is logged, and how.
    #[serde(deserialize_with = "table::one")]
    pub log: Log,
}

impl Config {
    /// Loads the configuration: the defaults, below the file, below the environment, below the
    /// command line.
    ///
    /// What is wrong is said of the place where it was written, whichever of them that is.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let document = sources.read()?;
        let table = sources.merge(&document)?;
        let config = Self::deserialize(Deserializer::from(table.clone()))
            .map_err(|error| sources.blame(&document, table.get_ref(), error.span(), error.message()))?;
        match config.contradiction() {
            Some(found) => Err(sources.blame(&document, table.get_ref(), found.span(&table), &found.message)),
            None => Ok(config),
        }
    }

    /// What is wrong between keys.
    fn contradiction(&self) -> Option<Contradiction> {
        let has_client_ca = self.server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let access = || self.access.as_ref()?.contradiction(has_client_ca);
        let own = self.server.contradiction().or_else(|| self.relay.contradiction());
        own.or_else(|| self.drain.contradiction()).or_else(access)
    }

    /// What takes the place of this configuration when `wanted` is loaded while the broker runs.
    #[must_use]
    pub fn reloaded(&self, wanted: &Self) -> Reloaded {
        // Here and in the sections nothing is filled up with `..`: a new key does not compile until
        // someone has decided whether it reloads.
        let config = Self {
            server: self.server.reloaded(&wanted.server),
            admin: self.admin.reloaded(&wanted.admin),
            socketio: self.socketio.clone(),
            limits: self.limits.reloaded(&wanted.limits),
            access: wanted.access.clone(),
            relay: self.relay.clone(),
            drain: wanted.drain.clone(),
            log: wanted.log.clone(),
        };
        Reloaded::new(self, config, wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::path::PathBuf;

    use toml::Table;
    use toml::Value;

    use super::*;

    /// Loads `text` as a file, with these environment variables and values of `--set`.
    fn load(text: &str, environment: &[(&str, &str)], settings: &[&str]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broker.toml");
        fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let settings = settings.iter().map(|setting| setting.parse().unwrap()).collect();
        let config =
            Sources::new(Some(file), environment, settings).and_then(|sources| Config::load(&sources));
        config.map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "/etc"))
    }

    fn default_table() -> Table {
        Table::try_from(Config::default()).unwrap()
    }

    /// The shipped file and every example.
    fn files() -> Vec<(PathBuf, String)> {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let mut files: Vec<_> =
            fs::read_dir(config.join("examples")).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty());
        files.push(config.join("broker.toml"));
        files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
    }

    #[test]
    fn the_shipped_file_holds_the_defaults() {
        assert_eq!(load(SHIPPED, &[], &[]), Ok(Config::default()));
        assert_eq!(load("", &[], &[]), Ok(Config::default()));
    }

    #[test]
    fn the_shipped_file_has_every_key() {
        let mut keys = 0;
        for section in default_table().keys() {
            let (_, text) = SHIPPED.split_once(&format!("\n[{section}]\n")).unwrap();
            let text = text.split("\n[").next().unwrap();
            let refusal = load(&format!("[{section}]\nbogus = 1"), &[], &[]).unwrap_err();
            let (_, known) = refusal.lines().next().unwrap().split_once("expected ").unwrap();
            for key in known.split('`').skip(1).step_by(2) {
                // A table that is not there by default is shown by its own heading.
                let starts = [format!("{key} = "), format!("[{section}.{key}]")];
                let is_there =
                    |line: &str| starts.iter().any(|start| line.trim_start_matches("# ").starts_with(start));
                assert!(text.lines().any(is_there), "{section}.{key} is missing");
                keys += 1;
            }
        }
        assert!(keys >= 36, "{keys}");
    }

    #[test]
    fn every_file_we_ship_is_valid() {
        for (file, text) in files() {
            assert!(load(&text, &[], &[]).is_ok(), "{}", file.display());
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused_in_every_table_of_every_file() {
        let mut tables = 0;
        for (file, text) in files() {
            for (path, mutant) in mutants(&text.parse().unwrap()) {
                let text = mutant.to_string();
                let refusal = load(&text, &[], &[]).unwrap_err();
                let line = 1 + text.lines().position(|line| line == "bogus = 1").unwrap();
                // Nothing is repeated of access. Roles are called as the operator likes, so there it is a
                // role, and a wrong one.
                let (reason, shown) = match &path[..] {
                    [access, roles] if access == "access" && roles == "roles" => {
                        ("9: invalid type: integer, expected a table", String::new())
                    }
                    [access, ..] if access == "access" => ("1: unknown key, expected ", String::new()),
                    _ => {
                        let margin = " ".repeat(line.to_string().len());
                        let shown = format!("\n{margin} |\n{line} | bogus\n{margin} | ^^^^^");
                        ("1: unknown key `bogus`, expected ", shown)
                    }
                };
                let expected = format!("/etc/broker.toml:{line}:{reason}");
                assert!(refusal.starts_with(&expected), "{}: {refusal}", file.display());
                assert!(refusal.ends_with(&shown) && (refusal.lines().count() == 4) != shown.is_empty());
                tables += 1;
            }
        }
        assert!(tables >= 40, "{tables}");
    }

    /// Copies of `table` that each have one key too many, in each table in turn, and where that is.
    fn mutants(table: &Table) -> Vec<(Vec<String>, Table)> {
        let paths = paths(&Value::Table(table.clone()));
        let mutant = |path: Vec<String>| {
            let mut mutant = table.clone();
            at(&mut mutant, &path).insert("bogus".to_owned(), Value::Integer(1));
            (path, mutant)
        };
        paths.into_iter().map(mutant).collect()
    }

    /// The paths of all tables in `value`, its own first; a number is an element of an array.
    fn paths(value: &Value) -> Vec<Vec<String>> {
        let (mut paths, inner): (_, Vec<(String, &Value)>) = match value {
            Value::Table(table) => {
                (vec![vec![]], table.iter().map(|(key, value)| (key.clone(), value)).collect())
            }
            Value::Array(all) => {
                (vec![], all.iter().enumerate().map(|(number, value)| (number.to_string(), value)).collect())
            }
            _ => (vec![], vec![]),
        };
        for (step, value) in inner {
            paths.extend(self::paths(value).into_iter().map(|path| [vec![step.clone()], path].concat()));
        }
        paths
    }

    /// The table at `path`.
    fn at<'a>(table: &'a mut Table, path: &[String]) -> &'a mut Table {
        let Some((step, path)) = path.split_first() else { return table };
        match (&mut table[step], path.split_first()) {
            (Value::Array(all), Some((number, path))) => {
                at(all[number.parse::<usize>().unwrap()].as_table_mut().unwrap(), path)
            }
            (value, _) => at(value.as_table_mut().unwrap(), path),
        }
    }

    /// What the shipped file explains of a table that is not there by default, by the tables that it is about;
    /// and what it shows.
    fn explained(root: &'static str) -> (Vec<(&'static str, &'static str)>, Table) {
        let heading = format!("\n# [{root}]\n");
        let (_, text) = SHIPPED.split_once(&heading).unwrap();
        let (explained, shown) = text.split("\n\n").next().unwrap().split_once(&heading).unwrap();
        let tables = explained.split("\n# [").map(|text| {
            let name = text.trim_start_matches('[').split([']', '\n']).next().unwrap();
            let is_below = name.strip_prefix(root).is_some_and(|rest| rest.starts_with('.'));
            (if is_below { name.trim_end_matches(".NAME") } else { root }, text)
        });
        let shown: String =
            shown.lines().flat_map(|line| [line.trim_start_matches(['#', ' ']), "\n"]).collect();
        (tables.collect(), format!("[{root}]\n{shown}").parse().unwrap())
    }

    #[test]
    fn the_shipped_file_explains_and_shows_every_key_of_tables_that_are_not_there() {
        for (root, least) in [("access", 60), ("relay.redis", 15), ("relay.nats", 10)] {
            let keys = assert_explained(root);
            assert!(keys >= least, "{root}: {keys}");
        }
    }

    /// Asserts that every key of the table and those below it is explained with its default, and shown; returns
    /// how many there are.
    fn assert_explained(root: &'static str) -> usize {
        const TLS: &str = "server.tls={ certificate = 'a', key = 'b', client_ca = 'c' }";
        let (tables, shown) = explained(root);
        let load = |table: &Table| load(&table.to_string(), &[], &[TLS]);
        assert!(load(&shown).is_ok(), "{:?}", load(&shown));
        let mut keys = 0;
        let depth = root.split('.').count();
        for (path, mutant) in mutants(&shown)
            .into_iter()
            .filter(|(path, _)| path.len() >= depth && *path != ["access", "roles"])
        {
            let name = path.join(".");
            let (_, text) = tables.iter().rfind(|(table, _)| name.starts_with(table)).unwrap();
            let refusal = load(&mutant).unwrap_err();
            assert!(refusal.contains(": unknown key"), "{name}: {refusal}");
            let (_, known) = refusal.lines().next().unwrap().split_once("expected ").unwrap();
            for key in known.split('`').skip(1).step_by(2) {
                keys += 1;
                // What is a table of its own is explained there.
                if tables.iter().any(|(table, _)| *table == format!("{name}.{key}")) {
                    continue;
                }
                let is_its = |line: &str| {
                    let names = line.trim_start_matches(['#', ' ']).split(':').next().unwrap();
                    names.split(", ").any(|name| name == key)
                };
                let mut explanation = text.lines().skip_while(|line| !is_its(line));
                let first = explanation.next();
                let first = first.unwrap_or_else(|| panic!("{name}.{key} is not explained in {text}"));
                assert!(SHIPPED.contains(&format!("{key} = ")), "{name}.{key} is not shown");
                let mut without = shown.clone();
                let value = at(&mut without, &path).remove(key);
                // What is one of several ways need not be shown everywhere; a table has no default.
                if value.is_none_or(|value| value.is_table()) {
                    continue;
                }
                let explanation: Vec<_> = std::iter::once(first)
                    .chain(explanation.take_while(|line| line.starts_with("#  ")))
                    .collect();
                let explanation = explanation.join(" ");
                let stated = explanation.split_once("Default: ").map(|(_, default)| default);
                let Ok(config) = load(&without) else {
                    assert_eq!(stated, None, "{name}.{key} must be there");
                    continue;
                };
                let mut defaults = Table::try_from(config).unwrap();
                let default =
                    at(&mut defaults, &path).get(key).map_or("not set".to_owned(), ToString::to_string);
                let is_stated = stated.and_then(|stated| stated.strip_prefix(&default));
                assert!(
                    is_stated.is_some_and(|rest| rest.starts_with(['.', ','])),
                    "{name}.{key}: {explanation}"
                );
            }
        }
        keys
    }

    #[test]
    fn all_of_access_is_replaced_by_a_reload() {
        let (_, shown) = explained("access");
        let tls = "[server.tls]\ncertificate = 'a'\nkey = 'b'\nclient_ca = 'c'\n";
        let with = load(&format!("{tls}{shown}"), &[], &[]).unwrap();
        let without = load(tls, &[], &[]).unwrap();
        let (came, went) = (without.reloaded(&with), with.reloaded(&without));
        assert_eq!((came.changed, came.config), (vec!["access".to_owned()], with));
        assert_eq!((went.changed, went.config), (vec!["access".to_owned()], without));
        assert!(came.needs_restart.is_empty() && went.needs_restart.is_empty());
    }

    #[test]
    fn the_documentation_of_every_key_states_its_default() {
        let mut stated = Table::new();
        for section in default_table().keys() {
            stated.insert(section.clone(), Value::Table(Table::new()));
        }
        for (name, default, _) in documented() {
            if default != "none" {
                let (section, key) = name.rsplit_once('.').unwrap();
                let assignment: Table = format!("{key} = {}", default.trim_matches('`')).parse().unwrap();
                stated[section].as_table_mut().unwrap().extend(assignment);
            }
        }
        assert_eq!(stated, default_table());
    }

    /// The section files, and of each key what its documentation says.
    fn documented() -> Vec<(String, String, String)> {
        let (_, relay) = include_str!("relay/mod.rs").split_once("pub struct Relay {").unwrap();
        let sections = [
            ("server", include_str!("server.rs")),
            ("server.tls", include_str!("tls.rs")),
            ("admin", include_str!("admin.rs")),
            ("socketio", include_str!("socketio.rs")),
            ("limits", include_str!("limits.rs")),
            ("relay", relay.split("\n}").next().unwrap()),
            ("drain", include_str!("drain.rs")),
            ("log", include_str!("log.rs")),
        ];
        let mut keys = Vec::new();
        for (section, source) in sections {
            for documentation in source.split("/// Default: ").skip(1) {
                let (default, rest) = documentation.split_once(". Takes effect: ").unwrap();
                let field = rest
                    .lines()
                    .map(str::trim)
                    .find(|line| !line.starts_with(['/', '#']) && line.contains(": "));
                let (key, _) = field.unwrap().trim_start_matches("pub ").split_once(':').unwrap();
                keys.push((format!("{section}.{key}"), default.to_owned(), rest.to_owned()));
            }
        }
        keys
    }

    #[test]
    fn what_takes_effect_on_reload_is_what_a_reload_takes_over() {
        let old = load(
            "server.unix_socket = '/a'\nadmin.listen = '[::1]:1'\nadmin.control_socket = '/b'\n\
             [server.tls]\ncertificate = 'a'\nkey = 'a'\nclient_ca = 'a'\n\
             [relay.nats]\nservers = 'nats://a'",
            &[],
            &[],
        );
        let wanted = load(
            "[server]\nhost = '::'\nport = 1\nunix_socket = '/c'\nunix_socket_mode = '0600'\npath = '/a'\n\
             allowed_origins = []\ntrusted_proxies = ['unix']\nproxy_protocol = true\nworkers = 1\n\
             tls = { certificate = 'b', key = 'b', client_ca = 'b' }\n\
             [admin]\nlisten = '[::1]:2'\nmetrics = false\ntoken_file = '/e'\ncontrol_socket = '/d'\n\
             [socketio]\ntransports = ['polling']\nengine_io_3 = false\nparser = 'msgpack'\n\
             ping_interval = '1s'\nping_timeout = '1s'\nconnect_timeout = '1s'\nupgrade_timeout = '1s'\n\
             [limits]\nmax_payload = '1 KiB'\nattachments = 1\nnesting = 1\nconnections = 1\n\
             connections_per_ip = 1\nconnects_per_second = 1\nrooms_per_client = 1\nroom_name_length = 1\n\
             events_per_second = 1\nbytes_per_second = '1 B'\nsend_queue = '1 B'\nslow_consumer = 'drop'\n\
             write_stall = '1s'\nsend_queue_total = '1 B'\nheader_timeout = '1s'\nheader_size = '8 KiB'\n\
             body_timeout = '1s'\nrequests_per_connection = 1\n\
             [relay]\nrequired = true\nconnect_timeout = '1s'\nqueue = 1\nqueue_size = '1 B'\n\
             redis = { url = 'redis://a' }\n\
             [drain]\nnotice = '1s'\nspread = '1s'\ntimeout = '2s'\n\
             [log]\nlevel = 'debug'\nformat = 'json'",
            &[],
            &[],
        );
        let Reloaded { mut changed, mut needs_restart, .. } = old.unwrap().reloaded(&wanted.unwrap());
        let keys = documented();
        let saying = |words: &str| {
            let said = keys.iter().filter(|(_, _, effect)| effect.starts_with(words));
            let mut said: Vec<_> = said.map(|(key, ..)| key.clone()).collect();
            said.sort();
            said
        };
        changed.sort();
        needs_restart.sort();
        assert_eq!(changed, saying("on reload"));
        let tls_itself = "server.tls";
        assert_eq!(
            needs_restart,
            saying("at restart").into_iter().filter(|key| key != tls_itself).collect::<Vec<_>>()
        );
        assert!(changed.len() >= 26 && needs_restart.len() >= 18, "{changed:?} {needs_restart:?}");
    }

    #[test]
    fn the_shipped_file_and_the_documentation_agree_on_what_takes_effect_when() {
        let mut keys = 0;
        for (name, _, effect) in documented() {
            let (section, key) = name.rsplit_once('.').unwrap();
            let (_, text) = SHIPPED.split_once(&format!("[{section}]\n")).unwrap();
            let text = text.split("\n[").next().unwrap();
            let is_key = |paragraph: &&str| {
                let starts = [format!("{key} = "), format!("# {key} = "), format!("# [{name}]")];
                paragraph.lines().any(|line| starts.iter().any(|start| line.starts_with(start.as_str())))
            };
            let paragraph = text.split("\n\n").find(is_key).unwrap();
            // What a paragraph does not say, the heading of its table does.
            let effect = if effect.starts_with("on reload") { "on reload" } else { "at restart" };
            let said = format!("Takes effect: {effect}");
            let said_here = paragraph.contains(&said) || section == "server.tls";
            assert!(said_here, "{name}: {paragraph}");
            keys += 1;
        }
        assert!(keys >= 45, "{keys}");
    }

    #[test]
    fn a_key_that_is_set_back_waits_for_no_restart() {
        let first = Config::default();
        let second = load("server.port = 1\nlimits.nesting = 7", &[], &[]).unwrap();
        let reloaded = first.reloaded(&second);
        assert_eq!(reloaded.changed, ["limits.nesting"]);
        assert_eq!(reloaded.needs_restart, ["server.port"]);
        let back = reloaded.config.reloaded(&first);
        assert_eq!(back.changed, ["limits.nesting"]);
        assert!(back.needs_restart.is_empty());
        assert_eq!(back.config, first);
    }

    #[test]
    fn tls_is_neither_begun_nor_ended_by_a_reload() {
        let tls = load("server.tls = { certificate = 'a', key = 'b' }", &[], &[]).unwrap();
        for (one, other) in [(&Config::default(), &tls), (&tls, &Config::default())] {
            let reloaded = one.reloaded(other);
            assert_eq!((reloaded.needs_restart, &reloaded.config), (vec!["server.tls".to_owned()], one));
        }
    }

    #[test]
    fn the_command_line_counts_more_than_the_environment_and_that_more_than_the_file() {
        let text = "[limits]\nattachments = 1\nnesting = 2\nrooms_per_client = 3";
        let environment =
            [("HUMBLE_BROKER_LIMITS__NESTING", "20"), ("HUMBLE_BROKER_LIMITS__ROOMS_PER_CLIENT", "30")];
        let config = load(text, &environment, &["limits.rooms_per_client=300"]).unwrap();
        assert_eq!(config.limits.attachments, 1);
        assert_eq!(config.limits.nesting.get(), 20);
        assert_eq!(config.limits.rooms_per_client.get(), 300);
        assert_eq!(config.limits.room_name_length.get(), 1024);
    }

    #[test]
    fn of_two_settings_of_a_key_the_later_counts() {
        let config = load("", &[], &["server.port=1", "server.port=2"]).unwrap();
        assert_eq!(config.server.port, 2);
    }

    #[test]
    fn a_value_from_outside_is_toml_or_else_text() {
        let settings = [
            "limits.max_payload=256KiB",
            "limits.header_timeout = '3s'",
            "admin.listen=127.0.0.1:9091",
            "admin.metrics=false",
            "server.allowed_origins=['https://a.example', \"https://b.example\"]",
            "socketio.transports=[\n  'polling', # only\n]",
            "log.level=info,hyper=warn",
        ];
        let expected = "\
            [limits]\nmax_payload = '256 KiB'\nheader_timeout = '3s'\n\
            [admin]\nlisten = '127.0.0.1:9091'\nmetrics = false\n\
            [server]\nallowed_origins = ['https://a.example', 'https://b.example']\n\
            [socketio]\ntransports = ['polling']\n\
            [log]\nlevel = 'info,hyper=warn'";
        assert_eq!(load("", &[], &settings), load(expected, &[], &[]));
    }

    #[test]
    fn what_is_wrong_outside_the_file_is_said_of_the_variable_or_the_flag() {
        let cases = [
            ("HUMBLE_BROKER_LIMITS__NESTING", "0", "`0` is not a depth; write a number from 1 to 128"),
            (
                "HUMBLE_BROKER_LIMITS__NESTING",
                "deep",
                "invalid type: string \"deep\", expected a whole number",
            ),
            (
                "HUMBLE_BROKER_DRAIN__TIMEOUT",
                "25",
                "`25` is not a length of time; write a number and a unit, like `5s`",
            ),
            (
                "HUMBLE_BROKER_DRAIN__TIMEOUTS",
                "25s",
                "unknown key `timeouts`, expected one of `notice`, `spread`, `timeout`",
            ),
            (
                "HUMBLE_BROKER_LIMIT__NESTING",
                "1",
                "unknown key `limit`, expected one of `server`, `admin`, `socketio`, `limits`, `access`, `relay`, \
                 `drain`, `log`",
            ),
            ("HUMBLE_BROKER_PORT", "5000", "names no key; write it like `HUMBLE_BROKER_SERVER__PORT`"),
            ("HUMBLE_BROKER_SERVER__", "5000", "names no key; write it like `HUMBLE_BROKER_SERVER__PORT`"),
            ("HUMBLE_BROKER_", "", "names no key; write it like `HUMBLE_BROKER_SERVER__PORT`"),
        ];
        for (name, value, refusal) in cases {
            assert_eq!(load(SHIPPED, &[(name, value)], &[]), Err(format!("{name}: {refusal}")));
        }
        let cases = [
            ("limits.max_payload=100", "`100` is not a size; write a whole number and a unit, like `64 KiB`"),
            ("server.port=65536", "invalid value: integer `65536`, expected a whole number from 0 to 65535"),
            (
                "socketio.transports=['polling', 'pigeon']",
                "unknown value `pigeon`, expected `polling` or `websocket`",
            ),
            ("server.allowed_origins=[{ any = 1 }]", "invalid type: table, expected a string"),
            ("server.host.name=a", "invalid type: table, expected a string"),
        ];
        for (setting, refusal) in cases {
            let (name, _) = setting.split_once('=').unwrap();
            assert_eq!(load("", &[], &[setting]), Err(format!("--set {name}: {refusal}")));
        }
        let refusal = load(SHIPPED, &[], &["server.allowed_origins=['a]"]).unwrap_err();
        assert!(refusal.starts_with("--set server.allowed_origins: this is not a value: "), "{refusal}");
    }

    #[test]
    fn a_name_of_very_many_parts_names_no_key() {
        let name = format!("HUMBLE_BROKER_{}B", "A__".repeat(40_000));
        let refusal = load("", &[(&name, "1")], &[]).unwrap_err();
        assert_eq!(refusal, format!("{name}: names no key; write it like `HUMBLE_BROKER_SERVER__PORT`"));
        assert!(format!("{}b=1", "a.".repeat(40_000)).parse::<Override>().is_err());
    }

    #[test]
    fn an_override_does_not_hide_where_the_file_is_wrong() {
        let refusal = load("[limits]\nnesting = 0", &[], &["limits.attachments=1"]).unwrap_err();
        assert!(refusal.starts_with("/etc/broker.toml:2:11: `0` is not a depth"), "{refusal}");
        let refusal = load("limits = 7", &[], &["limits.attachments=1"]).unwrap_err();
        assert!(
            refusal.starts_with("/etc/broker.toml:1:10: invalid type: integer `7`, expected a table"),
            "{refusal}"
        );
        let refusal = load("[limits]\nbogus = 0", &[("HUMBLE_BROKER_SERVER__HOST", "::")], &[]).unwrap_err();
        assert!(refusal.starts_with("/etc/broker.toml:2:1: unknown key `bogus`"), "{refusal}");
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        let cases = [
            ("[limits\n", 1),
            ("\n[limits]\nnesting\n", 3),
            ("a = 1\na = 2", 2),
            ("a =", 1),
            ("a = 'b", 1),
            ("\na = [1,", 2),
            ("[a]\n[a]", 2),
            ("a = \"\\q\"", 1),
            ("\u{0}", 1),
            ("a = {", 1),
        ];
        for (text, line) in cases {
            let refusal = load(text, &[], &[]).unwrap_err();
            assert!(refusal.starts_with(&format!("/etc/broker.toml:{line}:")), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn what_is_printed_loads_again_as_the_same() {
        let settings = [
            "admin.listen=[::1]:0",
            "limits.send_queue=12345 B",
            "drain.timeout=1h1ms",
            "socketio.parser=msgpack",
        ];
        let config = load("", &[], &settings);
        assert_ne!(config, Ok(Config::default()));
        let text = toml::to_string(config.as_ref().unwrap()).unwrap();
        assert_eq!(load(&text, &[], &[]), config);
    }
}
