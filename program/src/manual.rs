//! Manual pages: one for the program and one for each verb, made of the same words as `--help`.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use med2e3_schemas::config::nearest;
use med2e3_store::{FileError, put_whole};

use crate::{Stdout, note};

/// The arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The verb whose page is printed; the program's own page without it
    #[arg(value_name = "VERB", conflicts_with = "out")]
    verb: Option<String>,
    /// Write all pages into this folder instead: one for the program, one for each verb
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// A page: the name of its file without the section, and its text.
struct Page {
    name: String,
    text: Vec<u8>,
}

impl ManArgs {
    /// Prints a page, or writes all.
    ///
    /// # Errors
    /// No such verb; standard output or the folder refuses the write.
    pub fn run<Program: CommandFactory>(&self, out: &mut Stdout) -> anyhow::Result<()> {
        let mut program = Program::command().disable_help_subcommand(true);
        // Names of verbs are put together here.
        program.build();
        let pages = pages(&program)?;
        let Some(folder) = &self.out else {
            let name = match &self.verb {
                Some(verb) => format!("{}-{verb}", program.get_name()),
                None => program.get_name().to_owned(),
            };
            let page = pages.iter().find(|page| page.name == name).ok_or_else(|| {
                let verbs = program.get_subcommands().map(Command::get_name);
                let hint = nearest(self.verb.as_deref().unwrap_or_default(), verbs).unwrap_or_default();
                anyhow::anyhow!(
                    "expected a verb of {}, found `{name}`\nhint: did you mean `{hint}`?",
                    program.get_name()
                )
            })?;
            return Ok(out.data(&page.text)?);
        };
        fs::create_dir_all(folder).map_err(FileError::of(folder, "create"))?;
        for Page { name, text } in &pages {
            put_whole(&folder.join(format!("{name}.1")), text)?;
        }
        note(format_args!("wrote {} pages into {}", pages.len(), folder.display()));
        Ok(())
    }
}

/// The page of a command, then those of its verbs.
fn pages(command: &Command) -> io::Result<Vec<Page>> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut text = Vec::new();
    // What follows the help has lines to be typed, which stay lines.
    let notes = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let command_alone = command.clone().after_help("").after_long_help("");
    Man::new(command_alone).title(name.clone()).render(&mut text)?;
    if let Some(notes) = notes {
        text.extend(format!(".SH NOTES\n.nf\n{}\n.fi\n", roff(&notes)).bytes());
    }
    let mut found = vec![Page { name, text }];
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        found.extend(pages(verb)?);
    }
    Ok(found)
}

/// A text whose marks roff takes for marks of its own are characters.
fn roff(text: &str) -> String {
    let line = |line: &str| {
        let begin = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{begin}{}", line.replace('\\', "\\e").replace('-', "\\-"))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_each_verb_and_lines_stay_lines() {
        let verbs = [Command::new("draw").after_help(".x\n  a --b \\n"), Command::new("hidden").hide(true)];
        let mut program = Command::new("tool").disable_help_subcommand(true).subcommands(verbs);
        program.build();
        let pages = pages(&program).unwrap();
        let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names, ["tool", "tool-draw"]);
        let text = String::from_utf8(pages[1].text.clone()).unwrap();
        assert!(text.contains(".TH tool-draw 1"), "{text}");
        assert!(text.ends_with(".nf\n\\&.x\n  a \\-\\-b \\en\n.fi\n"), "{text}");
    }
}
