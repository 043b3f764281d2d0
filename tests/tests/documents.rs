//! What documents say beside command lines: links lead somewhere, the reference is that of the programs, quoted messages exist, lines are
//! short; manual pages and completions are there for every verb.

use std::fs;

use med2e3_tests::program::{program, root, run_to};
use med2e3_tests::source::{Source, sources};

/// Longest line of the documents that people read first.
const LONGEST: usize = 160;

fn documents() -> Vec<Source> {
    sources().into_iter().filter(|source| source.path.ends_with(".md")).collect()
}

fn assert_none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The anchor that a heading has on a page: lower case, spaces as hyphens, other marks left out.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Targets of a document's links, without those out of the repository.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.filter(|target| !target.contains("://")).map(str::to_owned));
    }
    found
}

/// What is wrong with a link of a document.
fn broken(document: &Source, link: &str) -> Option<String> {
    let (file, place) = link.split_once('#').unwrap_or((link, ""));
    let folder = root().join(&document.path);
    let path = if file.is_empty() { folder.clone() } else { folder.parent()?.join(file) };
    if !path.exists() {
        return Some(format!("{}: {link} leads nowhere", document.path));
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let has = place.is_empty()
        || text.lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == place);
    (!has).then(|| format!("{}: {link} names no heading", document.path))
}

#[test]
fn every_link_leads_somewhere() {
    let planted = Source::new("docs/x.md", "[a](nowhere.md) [b](../README.md#nothing-such)\n");
    assert_eq!(links(&planted.text).iter().filter_map(|link| broken(&planted, link)).count(), 2);
    let documents = documents();
    assert!(documents.iter().map(|document| links(&document.text).len()).sum::<usize>() > 40, "no links are found");
    assert_none(documents.iter().flat_map(|document| {
        links(&document.text).into_iter().filter_map(|link| broken(document, &link)).collect::<Vec<_>>()
    }));
}

#[test]
fn lines_are_short() {
    let long =
        documents().into_iter().filter(|document| document.path == "README.md" || document.path.starts_with("docs/"));
    let long = long.flat_map(|document| {
        let lines = document.text.lines().enumerate().filter(|(_, line)| line.chars().count() > LONGEST);
        lines
            .map(|(number, line)| format!("{}:{}: {} characters", document.path, number + 1, line.chars().count()))
            .collect::<Vec<_>>()
    });
    assert_none(long);
}

#[test]
fn the_reference_is_that_of_the_programs() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let said: String = ["med2e3-data", "med2e3"]
        .iter()
        .map(|name| run_to(0, program(name).args(["config", "reference"])).out)
        .collect();
    assert!(
        page.ends_with(&(said.trim_end().to_owned() + "\n")),
        "docs/configuration.md is out of date: run `cargo xtask reference`"
    );
    assert!(!page.contains("::"), "the page names a path of Rust");
}

/// Text between quotes of every product, as a program prints it.
fn strings() -> String {
    let products = sources().into_iter().filter(|source| source.is_rust() && !source.is_test());
    // A literal that goes on in the next line has a mark and the line's indent in it.
    products
        .map(|source| source.product_strings().replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn every_quoted_message_is_in_the_source() {
    let page = fs::read_to_string(root().join("docs/messages.md")).unwrap();
    let strings = strings();
    let headings = page.lines().filter(|line| line.starts_with("**`"));
    let quoted: Vec<&str> = headings.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    assert!(quoted.len() > 15, "{} messages", quoted.len());
    let reasons = page.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split('`').next());
    // `..` stands for what differs from case to case.
    let parts = quoted.into_iter().chain(reasons).flat_map(|message| message.split("..")).map(str::trim);
    let absent = parts.filter(|part| !part.is_empty() && !strings.contains(*part));
    assert_none(absent.map(|part| format!("docs/messages.md quotes `{part}`, which no program says")));
}

#[test]
fn every_verb_has_a_manual_page_and_is_completed() {
    for name in ["med2e3-data", "med2e3"] {
        let help = run_to(0, program(name).arg("--help")).out;
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let verbs: Vec<String> = lines
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|verb| *verb != "help")
            .map(str::to_owned)
            .collect();
        assert!(verbs.len() > 8, "{verbs:?}");

        let folder = tempfile::tempdir().unwrap();
        let said = run_to(0, program(name).args(["man", "--out"]).arg(folder.path().join("pages")));
        assert!(said.err.contains("pages into"), "{}", said.err);
        for verb in &verbs {
            let page = fs::read_to_string(folder.path().join(format!("pages/{name}-{verb}.1"))).unwrap();
            assert!(page.contains(&format!(".TH {name}-{verb} 1")), "{verb}");
        }
        let page = fs::read_to_string(folder.path().join(format!("pages/{name}-verify.1"))).unwrap();
        assert_eq!(run_to(0, program(name).args(["man", "verify"])).out, page);
        let page = run_to(0, program(name).arg("man")).out;
        assert!(page.contains("SYNOPSIS") && page.contains("Exit codes: 0 fine"), "{page}");
        let said = run_to(2, program(name).args(["man", "verfy"]));
        assert!(said.err.contains("did you mean `verify`?"), "{}", said.err);

        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = run_to(0, program(name).args(["completions", shell])).out;
            verbs.iter().for_each(|verb| assert!(script.contains(verb.as_str()), "{shell} does not complete {verb}"));
        }
        let bash = folder.path().join("completions");
        fs::write(&bash, run_to(0, program(name).args(["completions", "bash"])).out).unwrap();
        run_to(0, std::process::Command::new("bash").arg("-n").arg(&bash));

        let all: serde_json::Value =
            serde_json::from_str(&run_to(0, program(name).args(["config", "schema"])).out).unwrap();
        for (verb, schema) in all.as_object().unwrap() {
            let one: serde_json::Value =
                serde_json::from_str(&run_to(0, program(name).args(["config", "schema", verb])).out).unwrap();
            assert_eq!(one, *schema);
            assert_eq!(one["additionalProperties"], false, "{verb}");
        }
        let said = run_to(2, program(name).args(["config", "schema", "nothing"]));
        assert!(said.err.contains("expected a verb with a configuration"), "{}", said.err);
    }
}

#[test]
fn every_package_says_what_it_is() {
    let manifests = sources().into_iter().filter(|source| source.path.ends_with("Cargo.toml"));
    // Those with a workspace of their own are no members.
    let is_member = |source: &Source| source.text.contains("[package]") && !source.text.contains("[workspace]");
    let packages: Vec<Source> = manifests.filter(is_member).collect();
    assert!(packages.len() == 12, "{} packages", packages.len());
    let keys = ["description = \"", "keywords = [", "categories = ["];
    assert_none(packages.iter().flat_map(|package| {
        let absent = keys.iter().filter(|key| !package.text.contains(*key));
        absent.map(|key| format!("{} lacks {key}", package.path)).collect::<Vec<_>>()
    }));
}
