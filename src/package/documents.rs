//! Writes the man pages and the completions for shells into a folder: `cargo run --example documents FOLDER`.
//!
//! All of it comes from the structure that `--help` is printed from. It is an example and not a command, so that the program
//! does not carry it along.

mod man;

use std::{env, fs, io, path::Path};

use argh::ArgsInfo;
use argh_complete::{Generator, bash::Bash, fish::Fish, zsh::Zsh};
use minitorrent::cli::Arguments;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or_else(|| io::Error::other("say into which folder to write"))?;
    let write = |below: &str, name: &str, text: String| {
        let folder = Path::new(&folder).join(below);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), text)
    };
    for page in man::pages() {
        write("man", &page.name, page.text)?;
    }
    let program = Arguments::get_args_info();
    write("completions", "minitorrent.bash", Bash::generate(man::PROGRAM, &program))?;
    write("completions", "_minitorrent", Zsh::generate(man::PROGRAM, &program))?;
    // `commandline -x` is new in fish 4; `-o` asks for the same, and older ones know it too.
    let fish = Fish::generate(man::PROGRAM, &program).replace("commandline -xpc", "commandline -opc");
    write("completions", "minitorrent.fish", fish)
}
