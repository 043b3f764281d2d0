//! `test`: the whole test suite, with a count of what ran.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};

use crate::browser::{Browser, browser};
use crate::command::{cargo, line, output};
use crate::demo::build;
use crate::feed_wheel;
use crate::python::python;
use crate::wordnet::{WordNet, wordnet};

/// Generated cases per property when thorough; proptest's own default is 256.
const THOROUGH_CASES: &str = "4096";

/// What the names of tests that read WordNet have in them.
const WITH_WORDNET: &str = "with_wordnet";

/// The same of tests that drive a browser.
const WITH_BROWSER: &str = "with_browser";

/// The ring of the feed under a scheduler of its own.
const MODEL: &str = "pipeline/feed/model/Cargo.toml";

/// Runs every test of the workspace and of the ring's model; `thorough` raises their counts through `MED2E3_THOROUGH` and `PROPTEST_CASES`.
pub(crate) fn test(repository: &Path, thorough: bool) -> Result<()> {
    // Sets up libtorch too.
    python(repository)?;
    // Tests of the outside run the programs, and cargo builds those only for tests of their own package.
    build(repository)?;
    // A folder of the user's own is taken as it is.
    let without_wordnet = match std::env::var_os("MED2E3_WORDNET") {
        Some(_) => None,
        None => match wordnet(repository)? {
            WordNet::InPlace => None,
            WordNet::OutOfReach(reasons) => Some(format!("WordNet cannot be fetched ({reasons})")),
        },
    };
    let without_browser = match browser(repository)? {
        Browser::InPlace => None,
        Browser::OutOfReach(reasons) => Some(format!("pages cannot be opened ({reasons})")),
    };
    let left_out = [(WITH_WORDNET, without_wordnet), (WITH_BROWSER, without_browser)];
    let left_out: Vec<(&str, String)> = left_out.into_iter().filter_map(|(tests, why)| Some((tests, why?))).collect();

    let mut products = cargo(repository, &["test", "--workspace", "--no-fail-fast"]);
    products.arg("--");
    for (tests, _) in &left_out {
        products.args(["--skip", tests]);
    }
    let mut model =
        cargo(repository, &["test", "--no-fail-fast", "--manifest-path", MODEL, "--target-dir", "target/model"]);
    model.arg("--");
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for mut command in [products, model] {
        if thorough {
            command.env("MED2E3_THOROUGH", "1").env("PROPTEST_CASES", THOROUGH_CASES);
        }
        let status = counts.run(&mut command)?;
        if !status.success() {
            failures.push(format!("`{}` failed with {status}", line(&command)));
        }
    }

    let Counts { programs, passed, failed, ignored } = counts;
    eprintln!("\n{passed} tests passed, {failed} failed, {ignored} ignored, in {programs} test programs");
    for (tests, why) in left_out {
        let mut list =
            cargo(repository, &["test", "--workspace", "--quiet", "--lib", "--bins", "--tests", "--", "--list"]);
        let list = output(list.arg(tests))?;
        eprintln!("LEFT OUT, as {why}: {}", listed(&String::from_utf8_lossy(&list)));
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    ensure!(passed > 0, "no test ran");
    eprintln!("\nchecking the format, lints and documentation of python/feed");
    feed_wheel::check(repository)
}

/// The tests of the lines `NAME: test`.
fn listed(text: &str) -> String {
    text.lines().filter_map(|line| line.strip_suffix(": test")).collect::<Vec<_>>().join(", ")
}

/// The sum of the lines `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Counts {
    /// Runs tests, and passes on what they say.
    fn run(&mut self, command: &mut Command) -> Result<ExitStatus> {
        eprintln!("\ntesting: {}", line(command));
        if std::io::stdout().is_terminal() {
            command.arg("--color=always");
        }
        let started = command.stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot start `{}`", line(command)))?;
        for text in BufReader::new(child.stdout.take().context("the tests have no output")?).lines() {
            let text = text.context("cannot read what the tests say")?;
            println!("{text}");
            self.add(&text);
        }
        child.wait().context("cannot wait for the tests")
    }

    fn add(&mut self, text: &str) {
        let Some(result) = text.strip_prefix("test result: ") else {
            return;
        };
        let number = |of: &str| {
            let words: Vec<&str> = result.split([' ', ';']).collect();
            let at = words.iter().position(|word| *word == of).unwrap_or(0);
            words.get(at.wrapping_sub(1)).and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        self.programs += 1;
        self.passed += number("passed");
        self.failed += number("failed");
        self.ignored += number("ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_are_left_out_are_named() {
        assert_eq!(
            listed("a::with_wordnet::b: test\nc: bench\na::with_wordnet::d: test\n\n2 tests"),
            "a::with_wordnet::b, a::with_wordnet::d"
        );
    }

    #[test]
    fn results_add_up() {
        let mut counts = Counts::default();
        counts.add("running 3 tests");
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s");
        assert_eq!(counts, Counts { programs: 2, passed: 15, failed: 2, ignored: 1 });
        counts.add("test result: \u{1b}[32mok\u{1b}[m. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(counts.passed, 19);
    }
}
