//! The manual page: one page for all commands, from the same definition as
//! `--help`.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::error::Error;

/// The page in troff.
pub(crate) fn page() -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| Error::failed(format!("cannot make the manual page: {error}"));
    let mut command = Cli::command();
    command.build();
    let man = clap_mangen::Man::new(Cli::command());
    let mut page = Vec::new();
    // Not `render`: its list of commands refers to a page of each, and all
    // stand on this one.
    man.render_title(&mut page).map_err(failed)?;
    man.render_name_section(&mut page).map_err(failed)?;
    man.render_synopsis_section(&mut page).map_err(failed)?;
    man.render_description_section(&mut page).map_err(failed)?;
    man.render_options_section(&mut page).map_err(failed)?;
    writeln!(page, ".SH COMMANDS").map_err(failed)?;
    section(&mut page, &command).map_err(failed)?;
    man.render_extra_section(&mut page).map_err(failed)?;
    man.render_version_section(&mut page).map_err(failed)?;
    Ok(page)
}

/// The help of every command that does something itself.
fn section(page: &mut Vec<u8>, command: &clap::Command) -> std::io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        if sub.has_subcommands() {
            section(page, sub)?;
            continue;
        }
        let name = sub.get_bin_name().unwrap_or(sub.get_name()).to_owned();
        let mut own = sub.clone().term_width(80);
        let globals: Vec<clap::Id> =
            own.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id().clone()).collect();
        for id in globals {
            own = own.mut_arg(id, |arg| arg.hide(true));
        }
        own = own.disable_help_flag(true).disable_version_flag(true);
        writeln!(page, ".SS \"{}\"\n.nf", escape(&name))?;
        for line in own.render_help().to_string().lines() {
            writeln!(page, "{}", escape(line))?;
        }
        writeln!(page, ".fi")?;
    }
    Ok(())
}

/// Text that troff shows as it is.
fn escape(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_command_and_code() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for wanted in [
            ".TH orderwire",
            "orderwire queue peek",
            "orderwire dataset import",
            "orderwire order watch",
            "no server answers",
        ] {
            assert!(page.contains(&wanted.replace('-', "\\-")) || page.contains(wanted), "{wanted}");
        }
        assert!(!page.contains("(1)\n"), "a page that does not exist is referred to");
    }

    #[test]
    fn no_line_is_taken_for_a_request() {
        assert_eq!(escape(".x \\y"), "\\&.x \\ey");
    }
}
