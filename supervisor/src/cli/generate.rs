//! `simward generate`: manual pages and completions for shells, made of the command line itself.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

/// Writes `man/simward.1` and a page for each command, and `completions/` for each shell.
pub(super) fn run(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let pages = folder.join("man");
    let completions = folder.join("completions");
    for made in [&pages, &completions] {
        let cannot = || format!("the folder {} cannot be made", made.display());
        fs::create_dir_all(made).with_context(cannot)?;
    }
    let mut shown = shown(command);
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut shown, "simward", &completions)?;
    }
    clap_mangen::generate_to(without_help(shown), &pages)?;
    Ok(())
}

/// What is for everybody. Completions would name what is hidden, too.
fn shown(command: &Command) -> Command {
    let commands = command.get_subcommands().filter(|each| !each.is_hide_set()).cloned();
    Command::new("simward")
        .version(env!("CARGO_PKG_VERSION"))
        .about(command.get_about().cloned().unwrap_or_default())
        .propagate_version(true)
        .subcommand_required(true)
        .subcommands(commands)
}

/// `simward help pool kill` says what `simward pool kill --help` does: it needs no pages.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
