//! The log: quiet unless asked, on standard error, escaped.

use std::io::Write;

use log::LevelFilter;

/// The longest line, in bytes: what a server answers may be in it.
const MAX_LINE: usize = 4 * 1024;

/// Starts the log: errors only, more with each `-v`; `RUST_LOG` decides where it is set.
pub fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Error,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_module("minitorrent", level)
        .parse_default_env()
        .format(|out, record| {
            // What a peer or a browser sent must not move the cursor or forge a line.
            let text = record.args().to_string();
            let text = crate::text::escape(&crate::text::excerpt(&text, MAX_LINE));
            writeln!(out, "{}: {text}", record.level().as_str().to_ascii_lowercase())
        })
        .init();
}
