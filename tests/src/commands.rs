//! The command lines that documents, help texts and configurations show, found and run as a person would type them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{Said, program, root, run};

/// A command line, and where it stands.
#[derive(Debug, Clone)]
pub struct CommandLine {
    /// The file, or the program and verb whose help it is.
    pub place: String,
    /// The line, without the comment at its end.
    pub text: String,
}

/// The command lines of a Markdown document: blocks of `bash`, and what follows `$` in blocks of `console`.
pub fn of_document(place: &str, text: &str) -> Vec<CommandLine> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in joined(text) {
        let fence = line.trim().strip_prefix("```");
        match (fence, block.as_deref()) {
            (Some(kind), None) => block = Some(kind.to_owned()),
            (Some(_), Some(_)) => block = None,
            (None, Some("bash")) => found.extend(command(place, &line)),
            (None, Some("console")) => {
                found.extend(line.trim().strip_prefix("$ ").and_then(|line| command(place, line)));
            }
            _ => {}
        }
    }
    found
}

/// The blocks of Python of a Markdown document.
pub fn python_of_document(text: &str) -> Vec<String> {
    let blocks = text.split("\n```python\n").skip(1);
    blocks.filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect()
}

/// The command lines of a help text or of a configuration's comments: what begins with a program's name after two spaces.
pub fn of_text(place: &str, text: &str) -> Vec<CommandLine> {
    let lines = joined(text);
    let lines = lines.iter().map(|line| line.strip_prefix('#').unwrap_or(line)).filter(|line| line.starts_with("  "));
    let named = lines.map(str::trim).filter(|line| {
        let first = line.split(' ').next().unwrap_or_default();
        ["med2e3-data", "med2e3", "cargo"].contains(&first) && line.split(' ').count() > 1
    });
    named.filter_map(|line| command(place, line)).collect()
}

/// Lines, those that end with a backslash put together with the next one.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let (part, continues) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match lines.last_mut().filter(|_| goes_on) {
            // In a comment of a configuration the next line has a mark of its own.
            Some(last) => *last += part.trim_start_matches('#').trim_start(),
            None => lines.push(part.to_owned()),
        }
        goes_on = continues;
    }
    lines
}

/// A line without what explains it: a comment, or words after a wide gap.
fn command(place: &str, line: &str) -> Option<CommandLine> {
    let line = line.trim();
    let end = [" #", "   "].iter().filter_map(|gap| line.find(gap)).min().unwrap_or(line.len());
    let text = line[..end].trim();
    (!text.is_empty() && !text.starts_with('#')).then(|| CommandLine { place: place.to_owned(), text: text.to_owned() })
}

/// A folder in which command lines are run: the repository's configurations in it, and data and weights at the places that the
/// documents name.
pub struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    /// An empty one.
    pub fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["configs", "python", "trainer", "tests"] {
            std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).expect("a link");
        }
        Desk { folder }
    }

    /// A place in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another one with the same contents.
    pub fn copy(&self) -> Desk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copied = Command::new("cp").arg("-a").arg(self.folder.path().join(".")).arg(folder.path()).status();
        assert!(copied.is_ok_and(|status| status.success()), "the folder is copied");
        Desk { folder }
    }

    /// Runs a line in a shell. Places below `/data` and `/weights` are this folder's; what the line writes is removed before, since
    /// an earlier line may have written it.
    pub fn run(&self, line: &str) -> Said {
        let here = self.folder.path().display().to_string();
        let mut text = line.to_owned();
        for place in ["/data/", "/weights/"] {
            text = text.replace(&format!(" {place}"), &format!(" {here}{place}"));
            text = text.replace(&format!("={place}"), &format!("={here}{place}"));
        }
        if let Some(out) = output_of(&text) {
            let path = self.path(out);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            let _ = fs::remove_dir_all(path.with_file_name(format!("{out}.provenance")));
        }
        let programs = program("med2e3-data").get_program().to_owned();
        let programs = Path::new(&programs).parent().expect("a program is in a folder").to_owned();
        let search = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-c", &text]).current_dir(self.folder.path()).env_remove("COLUMNS");
        shell.env("HOME", self.folder.path()).env("PATH", format!("{}:{search}", programs.display()));
        run(&mut shell)
    }
}

impl Default for Desk {
    fn default() -> Desk {
        Desk::new()
    }
}

/// The folder that a line makes; a subset is drawn into a dataset that is there, and a run that is resumed stays.
fn output_of(line: &str) -> Option<&str> {
    let stays = ["sample ", "--resume", "--dry-run", "--part"].iter().any(|word| line.contains(word));
    line.split_once("--out ").filter(|_| !stays).map(|(_, rest)| rest.split(' ').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_and_freed_of_their_comments() {
        let text = "a\n```bash\nmed2e3 x --out a    # why\n\n# alone\nmed2e3 y \\\n    --z 1\n```\n```text\nmed2e3 no\n```\n```console\n$ med2e3 w\nsaid\n```\n";
        let found: Vec<_> = of_document("README.md", text).into_iter().map(|line| line.text).collect();
        assert_eq!(found, ["med2e3 x --out a", "med2e3 y --z 1", "med2e3 w"]);
        assert_eq!(python_of_document("a\n```python\nimport b\n\nb.c()\n```\n"), ["import b\n\nb.c()"]);
        let help = "Usage: med2e3 X\n\nA first run:\n  cargo xtask demo      makes it\n  med2e3 train a.toml --out run\n  med2e3 is a program\n";
        let found: Vec<_> = of_text("--help", help).into_iter().map(|line| line.text).collect();
        assert_eq!(found, ["cargo xtask demo", "med2e3 train a.toml --out run", "med2e3 is a program"]);
        assert_eq!(
            of_text("a.toml", "# A.\n#   med2e3 train a.toml \\\n#     --out b\n").pop().unwrap().text,
            "med2e3 train a.toml --out b"
        );
        assert_eq!(output_of("med2e3 train a --out run --set b=1"), Some("run"));
        assert_eq!(output_of("med2e3-data sample a --out dataset"), None);
    }
}
