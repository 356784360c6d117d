//! Parse, run, print one error, exit code.

use std::process::ExitCode;

use minitorrent::{cli, command, terminal};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(cli::Stop::Help(text)) => return terminal::print(&text),
        Err(cli::Stop::Usage(text)) => {
            eprint!("{text}");
            return ExitCode::from(cli::USAGE);
        }
    };
    match command::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("minitorrent: {failure}");
            ExitCode::FAILURE
        }
    }
}
