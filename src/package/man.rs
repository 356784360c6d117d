//! Man pages of the structure that `--help` is printed from: one of the program, one of each command.

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo};
use minitorrent::cli::Arguments;

/// What the program is called.
pub const PROGRAM: &str = "minitorrent";

/// A file of section 1.
pub struct Page {
    /// Of the file.
    pub name: String,
    /// In the language of man(7).
    pub text: String,
}

/// All of them.
pub fn pages() -> Vec<Page> {
    let program = Arguments::get_args_info();
    let names: Vec<String> = program.commands.iter().map(|command| format!("{PROGRAM}-{}", command.name)).collect();
    let own = page(PROGRAM, PROGRAM, &program, &names);
    let of_commands = program.commands.iter().zip(&names).map(|(command, name)| {
        let typed = format!("{PROGRAM} {}", command.name);
        page(name, &typed, &command.command, &[PROGRAM.to_owned()])
    });
    [own].into_iter().chain(of_commands).collect()
}

fn page(name: &str, typed: &str, command: &CommandInfoWithArgs, others: &[String]) -> Page {
    let (what, more) = command.description.split_once(". ").unwrap_or((command.description, ""));
    let mut text =
        format!(".TH {} 1 \"\" \"{PROGRAM} {}\"\n", escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"));
    text += &format!(".SH NAME\n{} \\- {}\n", escaped(name), escaped(what.trim_end_matches('.')));
    text += &format!(".SH SYNOPSIS\n\\fB{}\\fR [\\fIOPTIONS\\fR]{}\n", escaped(typed), operands(command));
    if !more.is_empty() {
        text += &format!(".SH DESCRIPTION\n{}\n", line(more));
    }
    if !command.commands.is_empty() {
        text += ".SH COMMANDS\n";
        for each in &command.commands {
            text += &format!(".TP\n\\fB{}\\fR\n{}\n", escaped(each.name), line(each.command.description));
        }
    }
    if !command.positionals.is_empty() {
        text += ".SH ARGUMENTS\n";
        for each in command.positionals {
            text += &format!(".TP\n\\fI{}\\fR\n{}\n", escaped(&each.name.to_uppercase()), line(each.description));
        }
    }
    text += ".SH OPTIONS\n";
    for flag in command.flags.iter().filter(|flag| !flag.hidden) {
        text += &format!(".TP\n{}\n{}\n", heading(flag), line(flag.description));
    }
    for example in command.examples {
        text +=
            &format!(".SH EXAMPLES\n.nf\n{}.fi\n", example.lines().map(|each| line(each) + "\n").collect::<String>());
    }
    for note in command.notes {
        text += &format!(".SH NOTES\n{}\n", line(note));
    }
    let others: Vec<_> = others.iter().map(|other| format!("\\fB{}\\fR(1)", escaped(other))).collect();
    text += &format!(".SH SEE ALSO\n{}\n", others.join(", "));
    Page { name: format!("{name}.1"), text }
}

/// What follows the options on a command line.
fn operands(command: &CommandInfoWithArgs) -> String {
    let operand = |each: &PositionalInfo<'_>| {
        let name = format!("\\fI{}\\fR", escaped(&each.name.to_uppercase()));
        match each.optionality {
            Optionality::Required => format!(" {name}"),
            Optionality::Optional => format!(" [{name}]"),
            Optionality::Repeating | Optionality::Greedy => format!(" [{name} ...]"),
        }
    };
    let commands = if command.commands.is_empty() { "" } else { " \\fICOMMAND\\fR ..." };
    command.positionals.iter().map(operand).collect::<String>() + commands
}

/// An option as it is typed.
fn heading(flag: &FlagInfo<'_>) -> String {
    // argh lists the long form of --help alone.
    let short = flag.short.or((flag.long == "--help").then_some('h'));
    let short = short.map_or(String::new(), |letter| format!("\\fB\\-{letter}\\fR, "));
    let value = match flag.kind {
        FlagInfoKind::Switch => String::new(),
        FlagInfoKind::Option { arg_name } => format!(" \\fI{}\\fR", escaped(&arg_name.to_uppercase())),
    };
    format!("{short}\\fB{}\\fR{value}", escaped(flag.long))
}

/// Text that begins a line, where a full stop or an apostrophe would make a request of it.
fn line(text: &str) -> String {
    let escaped = escaped(text);
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

/// Text in which nothing means more than itself; a hyphen stays one that can be copied.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
