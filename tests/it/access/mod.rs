//! Access: who is let in, as whom, and what each may do.

mod certified;
mod claimed;
mod discreet;
mod expired;
mod fetched;
mod key_server;
mod mistakes;
mod packed;
mod race;
mod revoked;
mod secret;
mod signed;
mod signer;

use std::fs;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

const RULES: &str = r#"
[access]
anonymous = "guest"

[[access.tokens]]
token_file = "FOLDER/token"
role = "ingest"

[access.roles.guest]
subscribe = { allow = ["public.*"], deny = ["public.internal*"] }

[access.roles.ingest]
subscribe = { allow = ["*"] }
publish = { allow = ["public.*"] }
broadcast = true
limits = { rooms_per_client = 2 }
"#;

const TOKEN: &str = "token-of-the-ingest";
const SESSIONS: &str = "humble_broker_connections";

fn start() -> (tempfile::TempDir, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    fs::write(&file, RULES.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    (folder, daemon)
}

fn refusal(client: &mut Client, event: &str) -> String {
    let answer = client.ask(event);
    answer.strip_prefix("[{\"error\":\"").unwrap_or(&answer).split('"').next().unwrap_or_default().to_owned()
}

#[test]
fn a_role_says_what_a_client_may_do() {
    let (_folder, daemon) = start();
    for way in Way::ALL {
        let mut guest = Client::connect(daemon.address, way);
        guest.subscribe("\"public.news\"");
        for event in [
            r#"["subscribe","public.internal"]"#,
            r#"["subscribe","private"]"#,
            r#"["subscribe",7]"#,
            r#"["publish","public.news",1]"#,
            r#"["broadcast",1]"#,
        ] {
            assert_eq!(refusal(&mut guest, event), "forbidden", "{event}");
        }
        let mut ingest = Client::connect_as(daemon.address, way, TOKEN).unwrap();
        ingest.subscribe("7");
        ingest.subscribe("\"private\"");
        assert_eq!(refusal(&mut ingest, r#"["subscribe","third"]"#), "too_many_rooms");
        assert_eq!(refusal(&mut ingest, r#"["publish","private",1]"#), "forbidden");
        assert_eq!(ingest.ask(r#"["publish","public.news",1]"#), "[]");
        guest.expect(r#"["data","public.news",1]"#);
        assert_eq!(ingest.ask(r#"["broadcast",2]"#), "[]");
        guest.expect(r#"["broadcast",2]"#);
    }
}

#[test]
fn who_shows_a_token_that_nobody_knows_is_refused_and_its_connection_is_closed() {
    let (_folder, daemon) = start();
    for way in Way::ALL {
        let told = Client::connect_as(daemon.address, way, "token-of-nobody").err().unwrap();
        let expected = match way {
            Way::WebSocket3 | Way::Polling3 | Way::Upgrade3 => r#"44"unauthorized""#,
            _ => r#"44{"message":"unauthorized"}"#,
        };
        assert_eq!(told, expected, "{way:?}");
    }
}

#[test]
fn who_is_refused_and_does_not_poll_takes_up_no_place_for_long() {
    let (_folder, daemon) = start();
    for way in [Way::Polling3, Way::Polling4] {
        let protocol = if way == Way::Polling3 { "3" } else { "4" };
        let mut client = Client::open_with(daemon.address, way, "&token=token-of-nobody");
        if way == Way::Polling4 {
            client.send("40");
        }
        daemon.await_metric(&format!("{SESSIONS}{{transport=\"polling\",protocol=\"{protocol}\"}}"), 0.0);
    }
    daemon.await_metric("humble_broker_connections_refused_total{reason=\"unauthorized\"}", 2.0);
}
