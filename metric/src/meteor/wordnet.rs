//! WordNet 3.0 from its files (`index.*`, `data.*`, `*.exc`; the format is in wndb(5WN) of Debian's `wordnet-base`): which
//! names share a meaning with a word.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use med2e3_store::FileError;
use med2e3_store::regular::read_regular;
use xxhash_rust::xxh3::xxh3_64;

use super::Release;

/// A file larger than this is none of WordNet's: `data.noun` has 15 MB.
const MOST_BYTES: u64 = 64 << 20;
const VERSION: &str = "3.0";

/// One part of speech: the end of its files' names, lemmas and meanings of WordNet 3.0, suffixes and what takes their place.
struct Part {
    file: &'static str,
    lemmas: usize,
    meanings: usize,
    suffixes: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip]
const PARTS: [Part; 4] = [
    Part { file: "noun", lemmas: 117_798, meanings: 82_115, suffixes: &[
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
        ("ies", "y"),
    ] },
    Part { file: "verb", lemmas: 11_529, meanings: 13_767, suffixes: &[
        ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
    ] },
    Part { file: "adj", lemmas: 21_479, meanings: 18_156, suffixes: &[("er", ""), ("est", ""), ("er", "e"), ("est", "e")] },
    Part { file: "adv", lemmas: 4_481, meanings: 3_621, suffixes: &[] },
];

/// Why WordNet could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WordNetError {
    /// A file that is absent, no file, or cannot be read.
    #[error("WordNet cannot be read")]
    File(#[from] FileError),
    /// Another version: scores would not be comparable.
    #[error("{}: WordNet 3.0 is needed, this is {found}", path.display())]
    Version {
        /// The file that says so.
        path: PathBuf,
        /// `WordNet 3.1` where the file has a licence that names a version.
        found: String,
    },
    /// A line that is not as the format has it.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: Reason,
    },
    /// A file with fewer or more entries than WordNet 3.0's.
    #[error("{}: {found} entries, {expected} expected of WordNet 3.0", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// Lines without those of the licence.
        found: usize,
        /// What WordNet 3.0 has.
        expected: usize,
    },
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It ends too early.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Something else where a number belongs.
    #[error("{0} is no number")]
    NoNumber(&'static str),
    /// It is not UTF-8.
    #[error("a word is not UTF-8")]
    NoText,
    /// A meaning says that it begins at another byte of the file.
    #[error("the line begins at byte {at}, and says {said}")]
    Offset {
        /// Where it begins.
        at: u32,
        /// What it says.
        said: u32,
    },
    /// A lemma with a meaning that the data file lacks.
    #[error("no meaning begins at byte {0} of the data file")]
    NoMeaning(u32),
}

/// WordNet 3.0 in memory, some 15 MB.
pub struct WordNet {
    /// Lemmas, names in meanings, and irregular forms.
    names: Names,
    parts: [Senses; 4],
    /// By name, whether it has several words: such are never synonyms.
    several_words: Vec<bool>,
}

/// The meanings of one part of speech. Names and meanings are numbers.
#[derive(Default)]
struct Senses {
    /// By name: where in `meanings` those of the lemma are. Nowhere, or past the end, for what is no lemma.
    lemmas: Vec<Range<u32>>,
    meanings: Vec<u32>,
    /// The names of meaning n are `members[ends[n - 1]..ends[n]]`.
    members: Vec<u32>,
    ends: Vec<u32>,
    /// Base forms of irregular ones.
    irregular: HashMap<u32, Vec<u32>>,
}

impl WordNet {
    /// Reads the folder that holds WordNet's files, `/usr/share/wordnet` where Debian's `wordnet-base` is installed.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged (with its line), or is of another version than 3.0.
    pub fn open(folder: &Path) -> Result<WordNet, WordNetError> {
        let mut names = Names::default();
        let mut parts: [Senses; 4] = Default::default();
        for (part, senses) in PARTS.iter().zip(&mut parts) {
            let file = |name: String| File::read(folder.join(name));
            let data = file(format!("data.{}", part.file))?.checked(part.meanings)?;
            // Meanings are named by the byte at which they begin.
            let mut begins = Vec::with_capacity(part.meanings);
            data.each_line(|begin, line| {
                begins.push(begin);
                senses.read_meaning(begin, line, &mut names)
            })?;
            let index = file(format!("index.{}", part.file))?.checked(part.lemmas)?;
            index.each_line(|_, line| senses.read_lemma(line, &begins, &mut names))?;
            file(format!("{}.exc", part.file))?.each_line(|_, line| senses.read_irregular(line, &mut names))?;
        }
        let several_words = names.all().map(|name| name.contains('_')).collect();
        Ok(WordNet { names, parts, several_words })
    }

    /// The names that share a meaning with the word or with one of its base forms, sorted as bytes, each once; those of several
    /// words are left out. What WordNet lacks has none.
    pub fn synonyms(&self, word: &str, release: Release) -> Vec<&str> {
        let mut numbers = Vec::new();
        self.synonym_names(&word.to_lowercase(), release, &mut numbers);
        let mut names: Vec<&str> = numbers.into_iter().map(|number| self.names.get(number as usize)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The number of a name that is written so.
    pub(super) fn name(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    /// Adds the names that share a meaning with a word in lower case, some several times.
    pub(super) fn synonym_names(&self, word: &str, release: Release, names: &mut Vec<u32>) {
        let number = self.names.find(word);
        for (part, senses) in PARTS.iter().zip(&self.parts) {
            for form in self.base_forms(word, number, part, senses, release) {
                let members = senses.meanings_of(form).iter().flat_map(|meaning| senses.members_of(*meaning));
                names.extend(members.filter(|name| !self.several_words[**name as usize]));
            }
        }
    }

    /// The lemmas that a word, which may have a number, is a form of, each once.
    fn base_forms(&self, word: &str, number: Option<u32>, part: &Part, senses: &Senses, release: Release) -> Vec<u32> {
        let mut forms = Vec::new();
        let mut add = |found: Option<u32>| {
            forms.extend(found.filter(|form| !senses.meanings_of(*form).is_empty() && !forms.contains(form)));
            !forms.is_empty()
        };
        let mut found = add(number);
        if let Some(bases) = number.and_then(|number| senses.irregular.get(&number)) {
            bases.iter().for_each(|base| found = add(Some(*base)));
            return forms;
        }
        // 3.8.1 goes on with every word that it made until one is a lemma. No suffix ends as a replacement does that the
        // suffix itself does not begin with: so only beginnings of the word can lose another.
        let mut beginnings = vec![word];
        while !beginnings.is_empty() {
            let mut shorter = Vec::new();
            for beginning in &beginnings {
                for (suffix, by) in part.suffixes {
                    let Some(cut) = beginning.strip_suffix(suffix) else { continue };
                    found = add(self.names.find_joined(cut, by));
                    let made = suffix.starts_with(by).then(|| &beginning[..cut.len() + by.len()]);
                    shorter.extend(made.filter(|made| !shorter.contains(made)));
                }
            }
            if found || release == Release::V3_10 {
                break;
            }
            beginnings = shorter;
        }
        forms
    }
}

impl Senses {
    fn meanings_of(&self, lemma: u32) -> &[u32] {
        let place = self.lemmas.get(lemma as usize).cloned().unwrap_or_default();
        &self.meanings[place.start as usize..place.end as usize]
    }

    fn members_of(&self, meaning: u32) -> &[u32] {
        let start = (meaning as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.members[start as usize..self.ends[meaning as usize] as usize]
    }

    /// `OFFSET FILE TYPE COUNT [NAME ID]... POINTERS... | GLOSS`, counted in hexadecimal.
    fn read_meaning(&mut self, begin: u32, line: &str, names: &mut Names) -> Result<(), Reason> {
        let mut fields = line.split_ascii_whitespace();
        let said = number(fields.next(), "the offset", 10)?;
        if said != begin {
            return Err(Reason::Offset { at: begin, said });
        }
        let count = number(fields.nth(2), "the count of names", 16)?;
        for _ in 0..count {
            let name = fields.next().ok_or(Reason::Missing("a name"))?;
            fields.next();
            // `(a)`, `(p)` and `(ip)` say where an adjective may stand.
            let marker = name.find('(').filter(|_| name.ends_with(')'));
            self.members.push(names.number(&name[..marker.unwrap_or(name.len())]));
        }
        self.ends.push(self.members.len() as u32);
        Ok(())
    }

    /// `LEMMA PART COUNT POINTERS [POINTER]... COUNT TAGGED [OFFSET]...`.
    fn read_lemma(&mut self, line: &str, begins: &[u32], names: &mut Names) -> Result<(), Reason> {
        let mut fields = line.split_ascii_whitespace();
        let lemma = fields.next().ok_or(Reason::Missing("the lemma"))?;
        let count = number(fields.nth(1), "the count of meanings", 10)?;
        let pointers = number(fields.next(), "the count of pointers", 10)?;
        let mut offsets = fields.skip(pointers as usize + 2);
        let start = self.meanings.len() as u32;
        for _ in 0..count {
            let offset = number(offsets.next(), "an offset", 10)?;
            let meaning = begins.binary_search(&offset).map_err(|_| Reason::NoMeaning(offset))?;
            self.meanings.push(meaning as u32);
        }
        let lemma = names.number(lemma) as usize;
        self.lemmas.resize(self.lemmas.len().max(lemma + 1), 0..0);
        self.lemmas[lemma] = start..self.meanings.len() as u32;
        Ok(())
    }

    /// `FORM BASE...`.
    fn read_irregular(&mut self, line: &str, names: &mut Names) -> Result<(), Reason> {
        let mut fields = line.split_ascii_whitespace();
        let form = fields.next().ok_or(Reason::Missing("the irregular form"))?;
        let bases = fields.map(|base| names.number(base)).collect();
        self.irregular.insert(names.number(form), bases);
        Ok(())
    }
}

fn number(field: Option<&str>, what: &'static str, radix: u32) -> Result<u32, Reason> {
    u32::from_str_radix(field.ok_or(Reason::Missing(what))?, radix).map_err(|_| Reason::NoNumber(what))
}

/// A file of WordNet.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn read(path: PathBuf) -> Result<File, WordNetError> {
        match String::from_utf8(read_regular(&path, MOST_BYTES)?) {
            Ok(text) => Ok(File { path, text }),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + memchr::memchr_iter(b'\n', before).count();
                Err(WordNetError::Line { path, line, reason: Reason::NoText })
            }
        }
    }

    /// The file if its licence is that of the version, and if it has as many entries.
    fn checked(self, expected: usize) -> Result<File, WordNetError> {
        let mut licence = self.text.lines().take_while(|line| line.starts_with(' '));
        let version = |line: &str| Some(line.split_once("WordNet ")?.1.split_once(" Copyright")?.0.to_string());
        let found = licence.find_map(version);
        if found.as_deref() != Some(VERSION) {
            let found = found.map_or("a file without its licence".into(), |version| format!("WordNet {version}"));
            return Err(WordNetError::Version { path: self.path, found });
        }
        let is_entry = |line: &&str| line.ends_with('\n') && !line.starts_with(' ');
        let found = self.text.split_inclusive('\n').filter(is_entry).count();
        if found != expected {
            return Err(WordNetError::Count { path: self.path, found, expected });
        }
        Ok(self)
    }

    /// Every line but those of the licence, with the byte at which it begins.
    fn each_line(&self, mut read: impl FnMut(u32, &str) -> Result<(), Reason>) -> Result<(), WordNetError> {
        let mut begin = 0;
        for (at, end) in memchr::memchr_iter(b'\n', self.text.as_bytes()).enumerate() {
            let line = &self.text[begin..end];
            if !line.starts_with(' ') {
                read(begin as u32, line).map_err(|reason| WordNetError::Line {
                    path: self.path.clone(),
                    line: at + 1,
                    reason,
                })?;
            }
            begin = end + 1;
        }
        Ok(())
    }
}

/// Names, each with a number: one string for all, and a hash table of open addresses over it.
struct Names {
    text: String,
    ends: Vec<u32>,
    /// At most half are taken.
    slots: Vec<Slot>,
    /// Bytes of the longest.
    longest: usize,
}

/// A name's number and 1, or 0; with half of the name's hash, which spares most comparisons.
#[derive(Clone, Copy, Default)]
struct Slot {
    number: u32,
    hash: u32,
}

impl Default for Names {
    fn default() -> Names {
        // WordNet 3.0 has 150,000 lemmas and 60,000 names that are written otherwise.
        let slots = vec![Slot::default(); 1 << 19];
        Names { text: String::with_capacity(3 << 20), ends: Vec::with_capacity(1 << 18), slots, longest: 0 }
    }
}

impl Names {
    fn get(&self, number: usize) -> &str {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[number] as usize]
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|number| self.get(number))
    }

    /// Where the name is or should be, and half of its hash.
    fn place(&self, name: &str) -> (usize, u32) {
        let hash = xxh3_64(name.as_bytes());
        let (mut place, half) = (hash as usize, (hash >> 32) as u32);
        let differs = |slot: Slot| slot.hash != half || self.get(slot.number as usize - 1) != name;
        loop {
            place &= self.slots.len() - 1;
            let slot = self.slots[place];
            if slot.number == 0 || !differs(slot) {
                return (place, half);
            }
            place += 1;
        }
    }

    fn find(&self, name: &str) -> Option<u32> {
        (name.len() <= self.longest)
            .then(|| self.slots[self.place(name).0].number)
            .and_then(|number| number.checked_sub(1))
    }

    fn find_joined(&self, first: &str, second: &str) -> Option<u32> {
        if first.len() + second.len() > self.longest {
            return None;
        }
        if second.is_empty() { self.find(first) } else { self.find(&[first, second].concat()) }
    }

    /// The name's number, a new one where it has none.
    fn number(&mut self, name: &str) -> u32 {
        let (place, hash) = self.place(name);
        if let Some(number) = self.slots[place].number.checked_sub(1) {
            return number;
        }
        let number = self.ends.len() as u32;
        self.text.push_str(name);
        self.ends.push(self.text.len() as u32);
        self.longest = self.longest.max(name.len());
        self.slots[place] = Slot { number: number + 1, hash };
        if self.ends.len() * 2 > self.slots.len() {
            self.slots = vec![Slot::default(); self.slots.len() * 2];
            for number in 0..self.ends.len() {
                let (place, hash) = self.place(self.get(number));
                self.slots[place] = Slot { number: number as u32 + 1, hash };
            }
        }
        number
    }
}
