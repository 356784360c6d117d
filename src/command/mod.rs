//! The commands: glue, and the only place that sees every layer.

mod create;
mod fetch;
mod lab;
mod listing;
mod page;
mod peers;
mod seed;
mod show;
mod signals;
mod source;
mod tracker;
mod verify;

use std::{process::ExitCode, sync::Arc};

pub use crate::node::Failure;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    cli::{self, Arguments, Command},
    net::PortChoice,
    node::{Node, NodeOptions, process::MAX_SAID},
    terminal,
};

/// Where the tracker of this machine listens unless told otherwise.
const TRACKER_PORT: u16 = 5000;

/// Descriptors that are of use: thousands of connections. Systems that allow a billion make some loops over them slow.
const MAX_DESCRIPTORS: u64 = 16 * 1024;

/// Does what the command line says.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Some(command) = arguments.command else {
        return Ok(terminal::print(cli::VERSION));
    };
    let verbose = match &command {
        Command::Tracker(tracker) => tracker.verbose,
        Command::Seed(seed) => seed.verbose,
        Command::Fetch(fetch) => fetch.verbose,
        Command::Create(_) | Command::Show(_) | Command::Verify(_) | Command::Lab(_) => 0,
    };
    terminal::start_log(verbose.max(arguments.verbose));
    allow_descriptors();
    match command {
        Command::Tracker(arguments) => tracker::run(arguments),
        Command::Seed(arguments) => seed::run(arguments),
        Command::Fetch(arguments) => fetch::run(arguments),
        Command::Create(arguments) => create::run(arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Lab(arguments) => lab::run(&arguments),
    }
}

/// Takes the descriptors that the system is ready to give: a room of peers needs more than the usual 1024.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(MAX_DESCRIPTORS, |maximum| maximum.min(MAX_DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
        if let Err(error) = raised {
            log::info!("the limit of open descriptors stays as it is: {error}");
        }
    }
}

/// Opens a node; a port that is not the first choice is said aloud.
fn open_node(options: NodeOptions) -> Result<Arc<Node>, Failure> {
    let (PortChoice::Asked(wanted) | PortChoice::From(wanted)) = options.port;
    let node = Node::open(options)?;
    if node.port() != wanted && wanted != 0 {
        terminal::say(format_args!("port {wanted} is in use; using {} for peers", node.port()));
    }
    Ok(node)
}

/// That what `option` names is a folder, or not there yet.
fn check_folder(path: &std::path::Path, option: &str) -> Result<(), Failure> {
    if path.is_dir() || std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    Err(Failure::about(path.display(), format_args!("not a folder, which {option} takes")))
}

/// Says the first of many lines, and how many more of what there are.
fn say_some(lines: &[impl std::fmt::Display], what: &str) {
    lines.iter().take(MAX_SAID).for_each(terminal::say);
    if lines.len() > MAX_SAID {
        terminal::say(format_args!("{} more {what}", lines.len() - MAX_SAID));
    }
}
