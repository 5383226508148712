//! The program: parse, run, exit code.

use std::process::ExitCode;

use humble_broker::cli;

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("socketio-humble-broker: {failure}");
            failure.exit_code()
        }
    }
}
