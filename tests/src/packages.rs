//! The workspace's packages as cargo sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::source::repository;

/// A member of the workspace.
#[derive(Debug)]
pub struct Package {
    /// As in its Cargo.toml.
    pub name: String,
    /// Its folder, relative to the repository, with a `/` at its end.
    pub folder: String,
    /// What it names in its Cargo.toml.
    pub dependencies: Vec<Dependency>,
}

/// A line of a Cargo.toml.
#[derive(Debug)]
pub struct Dependency {
    /// The package it names.
    pub name: String,
    /// Whether it serves the product, not its tests or its build.
    pub is_normal: bool,
}

/// The members of the workspace.
pub fn packages() -> Vec<Package> {
    let metadata = cargo(&["metadata", "--offline", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("cargo metadata writes JSON");
    let root = repository();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let package = |package: serde_json::Value| Package {
        name: text(&package["name"]),
        folder: text(&package["manifest_path"])
            .trim_start_matches(&format!("{}/", root.display()))
            .trim_end_matches("Cargo.toml")
            .to_string(),
        dependencies: list(&package["dependencies"])
            .iter()
            .map(|line| Dependency { name: text(&line["name"]), is_normal: line["kind"].is_null() })
            .collect(),
    };
    list(&metadata["packages"]).into_iter().map(package).collect()
}

/// What `cargo tree` lists, a line for each package: `NAME vVERSION FEATURES`.
pub fn tree(selection: &[&str], edges: &str) -> String {
    let edges = ["--offline", "--edges", edges, "--prefix", "none", "--format", "{p} {f}"];
    cargo(&[&["tree"], selection, &edges].concat())
}

/// The names in a `cargo tree`.
pub fn names_in(tree: &str) -> BTreeSet<&str> {
    tree.lines().filter_map(|line| line.split(' ').next()).collect()
}

/// The packages in both trees that have other features in one than in the other.
pub fn differing<'a>(one: &'a str, other: &'a str) -> Vec<&'a str> {
    let (one, other) = (features(one), features(other));
    one.iter().filter(|(package, sets)| other.get(*package).is_some_and(|its| its != *sets)).map(|(p, _)| *p).collect()
}

/// `NAME vVERSION` to each set of features it is built with.
fn features(tree: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines().map(|line| line.trim_end_matches("(*)").trim_end()) {
        let after_name = line.find(' ').map_or(line.len(), |space| space + 1);
        let end = line[after_name..].find(' ').map_or(line.len(), |space| after_name + space);
        found.entry(&line[..end]).or_default().insert(line[end..].trim());
    }
    found
}

fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).current_dir(repository()).args(args).output().expect("cargo starts");
    assert!(output.status.success(), "cargo {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_features_are_seen() {
        let one = "a v1.0.0 default\nb v1.0.0 std (*)\nb v1.0.0 std\nc v1.0.0 \n";
        let other = "a v1.0.0 default\nb v1.0.0 alloc\nb v1.0.0 std\nc v1.0.0\nd v1.0.0 std\n";
        assert_eq!(differing(one, other), ["b v1.0.0"]);
        assert!(differing(one, one).is_empty());
        assert_eq!(names_in(one), BTreeSet::from(["a", "b", "c"]));
    }

    #[test]
    fn the_members_are_found() {
        let packages = packages();
        let feed = packages.iter().find(|package| package.name == "med2e3-feed").unwrap();
        assert_eq!(feed.folder, "pipeline/feed/");
        assert!(feed.dependencies.iter().any(|line| line.name == "crossbeam" && line.is_normal));
        assert!(feed.dependencies.iter().any(|line| line.name == "tempfile" && !line.is_normal));
    }
}
