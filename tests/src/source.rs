//! The repository's files, with Rust code told from comments and text.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// A file that need not exist.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file serves tests or benches.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| ["tests", "tests.rs", "benches"].contains(&part))
    }

    /// Whether it is under one of the paths: the start of a path, or a bare file name that counts anywhere.
    pub fn is_under(&self, places: &[&str]) -> bool {
        let name = self.path.rsplit('/').next();
        places.iter().any(|place| self.path.starts_with(place) || name == Some(place))
    }

    /// The Rust code alone: comments and text between quotes are blank, lines stay where they are.
    pub fn code(&self) -> String {
        split(&self.text).0
    }

    /// The code up to the file's tests, which close it by convention.
    pub fn product_code(&self) -> String {
        until_tests(self.code())
    }

    /// The text between quotes up to the file's tests, the rest being blank.
    pub fn product_strings(&self) -> String {
        let (code, strings) = split(&self.text);
        let lines = until_tests(code).lines().count();
        strings.lines().take(lines).collect::<Vec<_>>().join("\n")
    }
}

/// The code before its tests, which end a file. What is declared for tests in one line (`mod wild;`, a `use`) is before them.
fn until_tests(code: String) -> String {
    let is_block = |(start, mark): &(usize, &str)| {
        let behind = &code[start + mark.len()..];
        behind.find(['{', ';']).is_none_or(|end| behind[end..].starts_with('{'))
    };
    match code.match_indices("#[cfg(test)]").find(is_block) {
        Some((end, _)) => code[..end].to_string(),
        None => code,
    }
}

/// The repository's root.
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("tests is a folder of the workspace").to_path_buf()
}

/// Folders that are built, installed or made by a run.
const LEFT_OUT: [&str; 12] = [
    ".git",
    "target",
    ".demo",
    ".bench",
    ".python",
    ".wordnet",
    ".browser",
    "fuzz/target",
    "python/feed/target",
    "fuzz/artifacts",
    "fuzz/coverage",
    "fuzz/found",
];

/// Every text file of the repository, in order of paths, save what is built, installed or made by a run.
pub fn sources() -> Vec<Source> {
    let root = repository();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be listed") {
            let path = entry.expect("an entry can be read").path();
            let relative = path.strip_prefix(&root).expect("it is in the repository").to_string_lossy().into_owned();
            let left_out = LEFT_OUT.contains(&relative.as_str());
            if left_out || relative.starts_with(".libtorch") || relative.contains("__pycache__") || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Source { path: relative, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Whether `word` is in `text` as a whole name, not as a part of a longer one.
pub fn names(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back().filter(|_| word.starts_with(part_of_name));
        let after = text[start + word.len()..].chars().next().filter(|_| word.ends_with(part_of_name));
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// Splits Rust into its code and its literals; in each, the other and the comments are spaces.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (kind, length) = next_piece(&chars[at..]);
        for &c in &chars[at..at + length] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if kind == Piece::Code { c } else { blank });
            strings.push(if kind == Piece::Text { c } else { blank });
        }
        at += length;
    }
    (code, strings)
}

#[derive(PartialEq)]
enum Piece {
    Code,
    Comment,
    Text,
}

/// The piece that `rest` begins with, and its length.
fn next_piece(rest: &[char]) -> (Piece, usize) {
    match rest {
        ['/', '/', ..] => (Piece::Comment, rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => (Piece::Comment, block_comment(rest)),
        ['"', ..] => (Piece::Text, quoted(rest, '"')),
        ['r', '"', ..] | ['r', '#', '"' | '#', ..] => match raw(rest) {
            Some(length) => (Piece::Text, length),
            None => (Piece::Code, 1),
        },
        ['\'', '\\', ..] => (Piece::Text, quoted(rest, '\'')),
        ['\'', _, '\'', ..] => (Piece::Text, 3),
        [c, ..] if c.is_alphanumeric() || *c == '_' => {
            // A name as a whole, so that the `r` at its end opens no raw string; `b` and `c` are prefixes of one.
            let length = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_').unwrap_or(rest.len());
            let prefixes_raw = length == 2 && ['b', 'c'].contains(c) && rest[1] == 'r';
            (Piece::Code, if prefixes_raw { 1 } else { length })
        }
        _ => (Piece::Code, 1),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `r"..."` or `r#"..."#`; none for a raw name such as `r#type`.
fn raw(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    let end = (2 + hashes..rest.len()).find(closes);
    Some(end.map_or(rest.len(), |at| at + 1 + hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        let source = Source::new(
            "a.rs",
            "use one; // two\n/* three /* four */ five */ let c = '\"'; six(\"seven \\\" //\"); r#\"eight \"nine\"#; \
             br\"ten\"; fn f<'a>(x: &'a str) {} let n = '\\''; eleven\n",
        );
        let (code, strings) = (source.code(), source.product_strings());
        for word in ["one", "six", "eleven", "str"] {
            assert!(names(&code, word) && !names(&strings, word), "{word}");
        }
        for word in ["seven", "eight", "nine", "ten"] {
            assert!(names(&strings, word) && !names(&code, word), "{word}");
        }
        for word in ["two", "three", "four", "five"] {
            assert!(!names(&code, word) && !names(&strings, word), "{word}");
        }
        assert_eq!(code.lines().count(), source.text.lines().count());
    }

    #[test]
    fn a_word_is_a_whole_name() {
        assert!(names("use tch::Tensor;", "tch"));
        assert!(!names("fetch", "tch"));
        assert!(!names("unsafe_code", "unsafe"));
        assert!(names("todo!()", "todo!"));
    }

    #[test]
    fn tests_at_the_tail_are_no_product_code() {
        let source = Source::new("a.rs", "one(\"two\");\n#[cfg(test)]\nmod tests { three(\"four\") }\n");
        assert!(names(&source.product_code(), "one") && !names(&source.product_code(), "three"));
        assert!(names(&source.product_strings(), "two") && !names(&source.product_strings(), "four"));
        let source = Source::new("a.rs", "#[cfg(test)]\nmod wild;\none();\n#[cfg(test)]\nmod tests { two() }\n");
        assert!(names(&source.product_code(), "one") && !names(&source.product_code(), "two"));
    }

    #[test]
    fn the_repository_is_read() {
        assert!(sources().iter().any(|source| source.path == "tests/src/source.rs"));
        assert!(sources().iter().all(|source| !source.path.starts_with("target/")));
    }
}
