//! Parse, run, print one error, exit code.

use std::process::ExitCode;

use minitorrent::{cli, command, terminal};

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(cli::Stop::Help(text)) => return terminal::print_lines(&text),
        Err(cli::Stop::Usage(text)) => {
            text.lines().for_each(terminal::say);
            return ExitCode::from(cli::USAGE);
        }
    };
    match command::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            terminal::say(format_args!("minitorrent: {failure}"));
            ExitCode::FAILURE
        }
    }
}
