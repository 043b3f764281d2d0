//! Scrubbing: dates, names, phone numbers and identifiers in the texts of reports, found by rules and replaced by marks such as
//! `[DATE]`.
//!
//! Rules find how such things are written, in English, German and Chinese; they do not know who a patient is. A name without a
//! word such as `Patient` or `Dr.` before it stays, so a scrubbed text is not an anonymous one.
//!
//! # Rules
//! One rule a line, fields separated by tabs; empty lines and lines that begin with `#` are passed over:
//!
//! ```text
//! KIND<tab>REGEX
//! KIND<tab>REGEX<tab>REPLACEMENT
//! KEEP<tab>REGEX
//! LET<tab>NAME<tab>REGEX
//! EXCEPT<tab>KIND<tab>words
//! BUILT-IN
//! ```
//!
//! - `KIND` is a word of capital letters, digits and `_`, under which hits are counted. Its mark is `[KIND]`, or the replacement,
//!   which is plain text and may be empty.
//! - `REGEX` is of the crate [`regex`], whose search takes a time linear in the text. Where it has a group `hide`, only that is
//!   replaced, and the rest of the expression says what stands around it; where the group takes no part, nothing is replaced:
//!   `[0-9]+ mm|(?P<hide>[0-9]{7})`.
//! - `KEEP` protects what it finds, or its group `keep`: a hit within that is none, as in `Image 12/2034`.
//! - `EXCEPT` lists words, separated by spaces, in small letters: a hit of the kind whose first word is one of them is none, as
//!   `Male` in `Patient: Male`. `position*` is all words that begin so.
//! - `LET` gives an expression a name of three capital letters or more, which stands for it in later lines: `{MONTH}`.
//! - `BUILT-IN` stands for the rules of this crate, [`BUILT_IN`].
//!
//! Hits that overlap are one, replaced by the mark of the first; of two that begin at one place, of the earlier rule. What
//! replacing brings to light is replaced too, so that scrubbing a scrubbed text changes nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, Range};
use std::path::Path;

use med2e3_schemas::identity::{Identify, Identity};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Serialize;

use super::encoding;
use crate::error::InputError;
use crate::reading;

/// The rules of this crate, in the form of a rules file.
pub const BUILT_IN: &str = include_str!("scrub/rules.txt");

/// Most bytes of a rules file.
pub const MOST_BYTES: u64 = 256 << 10;

/// Most rules, those of [`BUILT_IN`] included where a file names them.
pub const MOST_RULES: usize = 256;

/// Most bytes of an expression whose names are written out: each could name the one before twice.
const LONGEST: usize = 1 << 16;

/// Most bytes of memory that an expression takes when it is compiled.
const MOST_COMPILED: usize = 2 << 20;

/// As [`MOST_COMPILED`], of all expressions together.
const MOST_COMPILED_OF_ALL: usize = 64 << 20;

/// Most bytes of memory for the states of an expression that a search keeps, a thread.
const MOST_STATES: usize = 1 << 20;

/// As [`MOST_STATES`], for the search that tells which rules find anything.
const MOST_STATES_OF_ALL: usize = 16 << 20;

/// Most times that a text is scrubbed, where a file's rules find something in each other's replacements again and again.
const MOST_PASSES: usize = 8;

/// The names of the group that is replaced, or kept.
const PLACES: [&str; 2] = ["hide", "keep"];

/// The kind of rules that protect what they find.
const KEEP: &str = "KEEP";

/// The kind of lines that name an expression.
const LET: &str = "LET";

/// The kind of lines that list words which are no hits.
const EXCEPT: &str = "EXCEPT";

/// The line that stands for [`BUILT_IN`].
const BUILT_IN_LINE: &str = "BUILT-IN";

/// Finds and replaces what may tell who a patient is. See [the module](self).
#[derive(Clone, Debug)]
pub struct Scrubber {
    rules: Vec<Rule>,
    kept: Vec<Expression>,
    /// By kind.
    exceptions: BTreeMap<String, Words>,
    /// All rules at once: most texts have no hit of most of them.
    all: RegexSet,
    /// The rules, one a line, without comments.
    text: String,
}

/// A scrubbed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbed<'a> {
    /// The text with marks; borrowed where nothing was found.
    pub text: Cow<'a, str>,
    /// What was replaced.
    pub counts: Counts,
}

/// Numbers of hits by kind, such as `DATE`; only kinds that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Each kind with its number, in the order of the kinds' names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(kind, count)| (kind.as_str(), *count))
    }

    /// Hits of all kinds.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether there is no hit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, kind: &str, count: u64) {
        match self.0.get_mut(kind) {
            Some(all) => *all += count,
            None => {
                self.0.insert(kind.to_owned(), count);
            }
        }
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        other.iter().for_each(|(kind, count)| self.add(kind, count));
    }
}

#[derive(Clone, Debug)]
struct Rule {
    kind: String,
    expression: Expression,
    mark: String,
}

/// A place in a text that a rule finds.
struct Hit {
    range: Range<usize>,
    rule: usize,
}

impl Scrubber {
    /// The rules of this crate: dates, names, phone numbers, e-mail addresses, identifiers, postal addresses. Compiling them takes
    /// about a tenth of a second: a scrubber is made once, and threads share it or have clones, which are cheap.
    ///
    /// # Panics
    /// Never: a test compiles them.
    pub fn built_in() -> Scrubber {
        Scrubber::of_rules(BUILT_IN, Path::new("built-in rules")).expect("the rules of this crate compile")
    }

    /// Reads a rules file: UTF-8, at most [`MOST_BYTES`] and [`MOST_RULES`]. Blocks on file input.
    ///
    /// # Errors
    /// [`InputError::TextUnreadable`] where it is missing, unreadable or not UTF-8, [`InputError::TooLarge`], [`InputError::Machine`]
    /// where the machine failed to read it, and as [`of_rules`](Self::of_rules).
    pub fn load(path: &Path) -> Result<Scrubber, InputError> {
        let unreadable = |source| InputError::TextUnreadable { path: path.to_owned(), source };
        let bytes = reading::patiently(|| reading::read_at_most(path, MOST_BYTES))?.map_err(unreadable)?;
        if bytes.len() as u64 > MOST_BYTES {
            let found = reading::metadata(path).map_or(bytes.len() as u64, |file| file.len());
            return Err(InputError::TooLarge { path: path.to_owned(), expected: MOST_BYTES, found });
        }
        Scrubber::of_rules(&encoding::utf8(bytes).map_err(unreadable)?, path)
    }

    /// The scrubber of these rules, in the form of a rules file; `location` is named in errors.
    ///
    /// # Errors
    /// [`InputError::ScrubRule`] with the line: a line that is no rule, an expression that does not compile, takes too much memory
    /// or finds nothing at all (an empty text), a replacement in which a rule finds something, too many rules, or none.
    pub fn of_rules(rules: &str, location: &Path) -> Result<Scrubber, InputError> {
        let mut scrubber = Scrubber {
            rules: Vec::new(),
            kept: Vec::new(),
            exceptions: BTreeMap::new(),
            all: RegexSet::empty(),
            text: String::new(),
        };
        let mut lines = Vec::new();
        let mut names = Names::default();
        for (line, rule) in (1..).zip(rules.lines()) {
            let wrong = |(expected, found)| InputError::ScrubRule { path: location.to_owned(), line, expected, found };
            if rule.trim() == BUILT_IN_LINE {
                let mut names = Names::default();
                for rule in BUILT_IN.lines() {
                    scrubber.add(rule, &mut names).map_err(wrong)?;
                }
            } else {
                scrubber.add(rule, &mut names).map_err(wrong)?;
            }
            if scrubber.rules.len() + scrubber.kept.len() > MOST_RULES {
                return Err(wrong(("at most 256 rules", "one more".to_owned())));
            }
            lines.resize(scrubber.rules.len(), line);
        }
        let fault = |line, expected, found| InputError::ScrubRule { path: location.to_owned(), line, expected, found };
        if scrubber.rules.is_empty() {
            return Err(fault(1, "a rule that replaces something", "none in the file".to_owned()));
        }
        let has_a_rule = |kind: &&String| scrubber.rules.iter().any(|rule| rule.kind == **kind);
        if let Some(kind) = scrubber.exceptions.keys().find(|kind| !has_a_rule(kind)) {
            let start = format!("{EXCEPT}\t{kind}\t");
            let line = rules.lines().position(|line| line.starts_with(&start)).map_or(1, |before| before + 1);
            return Err(fault(line, "a kind that a rule has", format!("`{kind}`")));
        }
        let expressions = scrubber.rules.iter().map(|rule| rule.expression.regex.as_str());
        scrubber.all = RegexSetBuilder::new(expressions)
            .size_limit(MOST_COMPILED_OF_ALL)
            .dfa_size_limit(MOST_STATES_OF_ALL)
            .build()
            .map_err(|error| fault(1, "rules that compile together", reason(&error)))?;
        for (rule, line) in scrubber.rules.iter().zip(&lines) {
            if let Some(hit) = scrubber.hits(&rule.mark).first() {
                let found = format!("one in which the rule of line {} finds something", lines[hit.rule]);
                return Err(fault(*line, "a replacement in which no rule finds anything", found));
            }
        }
        Ok(scrubber)
    }

    /// Adds the rule of one line, if it holds one; the error is what was expected and what was found.
    fn add(&mut self, line: &str, names: &mut Names) -> Result<(), (&'static str, String)> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let mut fields = line.split('\t');
        let (kind, regex, mark) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
        let Some(regex) = regex.filter(|_| fields.next().is_none()) else {
            let found = format!("{} fields", line.split('\t').count());
            return Err(("a kind, an expression and perhaps a replacement, separated by tabs", found));
        };
        let in_form = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if kind.is_empty() || kind.len() > 24 || !kind.chars().all(in_form) {
            return Err(("a kind of 1 to 24 capital letters A to Z, digits or _", format!("`{kind}`")));
        }
        if kind == LET {
            return names.add(regex, mark);
        }
        if kind == EXCEPT {
            let words = mark.ok_or(("a kind and its words, separated by a tab", "no words".to_owned()))?;
            self.exceptions.entry(regex.to_owned()).or_default().add(words);
            self.text.push_str(&format!("{kind}\t{regex}\t{words}\n"));
            return Ok(());
        }
        let regex = &names.written_out(regex)?;
        let expression = Expression::new(regex)?;
        if kind == KEEP {
            if mark.is_some() {
                return Err(("no replacement for what is kept", "one".to_owned()));
            }
            self.kept.push(expression);
            self.text.push_str(&format!("{kind}\t{regex}\n"));
            return Ok(());
        }
        let mark = mark.map_or_else(|| format!("[{kind}]"), str::to_owned);
        self.text.push_str(&format!("{kind}\t{regex}\t{mark}\n"));
        self.rules.push(Rule { kind: kind.to_owned(), expression, mark });
        Ok(())
    }

    /// The rules in the form of a rules file, one a line and without comments, from which [`of_rules`](Self::of_rules) makes an equal
    /// scrubber.
    pub fn rules(&self) -> &str {
        &self.text
    }

    /// Replaces all hits by their marks.
    pub fn scrub<'a>(&self, text: &'a str) -> Scrubbed<'a> {
        let mut scrubbed = Scrubbed { text: Cow::Borrowed(text), counts: Counts::default() };
        for _ in 0..MOST_PASSES {
            let hits = self.hits(&scrubbed.text);
            if hits.is_empty() {
                break;
            }
            let mut out = String::with_capacity(scrubbed.text.len());
            let mut end = 0;
            for Hit { range, rule } in hits {
                let rule = &self.rules[rule];
                out.push_str(&scrubbed.text[end..range.start]);
                out.push_str(&rule.mark);
                end = range.end;
                scrubbed.counts.add(&rule.kind, 1);
            }
            out.push_str(&scrubbed.text[end..]);
            scrubbed.text = Cow::Owned(out);
        }
        scrubbed
    }

    /// Counts the hits in a text without replacing any.
    pub fn find(&self, text: &str) -> Counts {
        let mut counts = Counts::default();
        self.hits(text).iter().for_each(|hit| counts.add(&self.rules[hit.rule].kind, 1));
        counts
    }

    /// The hits in their order, none overlapping another.
    fn hits(&self, text: &str) -> Vec<Hit> {
        let mut found = Vec::new();
        for rule in &self.all.matches(text) {
            let Rule { kind, expression, .. } = &self.rules[rule];
            let exceptions = self.exceptions.get(kind);
            expression.each(text, |range| {
                if !exceptions.is_some_and(|words| words.are_first_in(&text[range.clone()])) {
                    found.push(Hit { range, rule });
                }
            });
        }
        if found.is_empty() {
            return found;
        }
        for expression in &self.kept {
            let mut kept = Vec::new();
            expression.each(text, |range| kept.push(range));
            found.retain(|hit| {
                let before = kept.partition_point(|range| range.start <= hit.range.start);
                before == 0 || kept[before - 1].end < hit.range.end
            });
        }
        found.sort_by_key(|hit| (hit.range.start, hit.rule));
        let mut hits: Vec<Hit> = Vec::with_capacity(found.len());
        for hit in found {
            match hits.last_mut().filter(|last| hit.range.start < last.range.end) {
                Some(last) => last.range.end = last.range.end.max(hit.range.end),
                None => hits.push(hit),
            }
        }
        hits
    }
}

impl Identify for Scrubber {
    /// The rules, in their order, without comments.
    fn identify(&self, identity: &mut Identity) {
        identity.text(&self.text);
    }
}

/// Words in small letters.
#[derive(Clone, Debug, Default)]
struct Words {
    whole: BTreeSet<String>,
    beginnings: Vec<String>,
}

impl Words {
    fn add(&mut self, words: &str) {
        for word in words.split_whitespace().map(str::to_lowercase) {
            match word.strip_suffix('*') {
                Some(beginning) => self.beginnings.push(beginning.to_owned()),
                None => drop(self.whole.insert(word)),
            }
        }
    }

    /// Whether the first word of a text is one of them.
    fn are_first_in(&self, text: &str) -> bool {
        let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
        self.whole.contains(&first) || self.beginnings.iter().any(|beginning| first.starts_with(beginning.as_str()))
    }
}

/// Expressions by the names that `LET` gives them, written out.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn add(&mut self, name: &str, regex: Option<&str>) -> Result<(), (&'static str, String)> {
        let expected = "a name of 3 to 24 capital letters A to Z or _, and an expression";
        let in_form = |c: char| c.is_ascii_uppercase() || c == '_';
        if !(3..=24).contains(&name.len()) || !name.chars().all(in_form) {
            return Err((expected, format!("the name `{name}`")));
        }
        let regex = regex.ok_or_else(|| (expected, "no expression".to_owned()))?;
        let regex = self.written_out(regex)?;
        self.0.insert(name.to_owned(), format!("(?:{regex})"));
        Ok(())
    }

    /// An expression with those in the place of their names.
    fn written_out(&self, regex: &str) -> Result<String, (&'static str, String)> {
        let (mut out, mut rest) = (String::new(), regex);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            match after.split_once('}').and_then(|(name, after)| Some((self.0.get(name)?, after))) {
                Some((regex, after)) => {
                    out.push_str(regex);
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = after;
                }
            }
            if out.len() > LONGEST {
                return Err(("an expression of at most 65536 bytes, its names written out", "a longer one".to_owned()));
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
struct Expression {
    regex: Regex,
    /// The number of the group that says what is replaced or kept.
    place: Option<usize>,
}

impl Expression {
    fn new(regex: &str) -> Result<Expression, (&'static str, String)> {
        let expected = "an expression of the crate regex";
        let regex = RegexBuilder::new(regex).size_limit(MOST_COMPILED).dfa_size_limit(MOST_STATES).build();
        let regex = regex.map_err(|error| (expected, reason(&error)))?;
        if regex.is_match("") {
            return Err((expected, "one that finds the empty text, which is everywhere".to_owned()));
        }
        let place = regex.capture_names().position(|name| name.is_some_and(|name| PLACES.contains(&name)));
        Ok(Expression { regex, place })
    }

    /// Calls `found` with each place that is to be replaced or kept, in their order.
    fn each(&self, text: &str, mut found: impl FnMut(Range<usize>)) {
        let mut at = 0;
        while at <= text.len() {
            let (whole, place) = match self.place {
                None => {
                    let Some(place) = self.regex.find_at(text, at) else { return };
                    (place.range(), Some(place.range()))
                }
                Some(group) => {
                    let Some(groups) = self.regex.captures_at(text, at) else { return };
                    (groups.get_match().range(), groups.get(group).map(|place| place.range()))
                }
            };
            // What stands behind one place may stand before the next: the search goes on with the last character that is not
            // replaced.
            let place = place.filter(|place| !place.is_empty());
            let last = || text[whole.clone()].char_indices().next_back().map_or(whole.end, |(n, _)| whole.start + n);
            let next = place.as_ref().map_or_else(last, |place| place.end);
            let first = text[whole.start..].chars().next().map_or(1, char::len_utf8);
            at = if next > whole.start { next } else { whole.start + first };
            place.into_iter().for_each(&mut found);
        }
    }
}

/// The last line of an error of the crate regex, which says what is wrong.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(most) => format!("one that takes more than {most} bytes of memory"),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("an error: {}", last.strip_prefix("error: ").unwrap_or(last))
        }
    }
}
