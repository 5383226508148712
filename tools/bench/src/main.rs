//! A load generator for Socket.IO brokers that know `subscribe`, `unsubscribe`, `publish` and `broadcast`.

mod around;
mod cli;
mod client;
mod crowd;
mod frame;
mod gathering;
mod http;
mod link;
mod load;
mod marker;
mod modes;
mod outcome;
mod payload;
mod process;
mod report;
mod tally;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("socketio-bench: {fault}");
            ExitCode::FAILURE
        }
    }
}
