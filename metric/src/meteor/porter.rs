//! Porter's stemmer (1980, "An algorithm for suffix stripping") in the three modes that NLTK has: its own extensions, Porter's
//! later ones, the paper's.
//!
//! A letter is a character: what is no vowel of a, e, i, o, u, and no y behind a consonant, is a consonant.

/// Which rules are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// NLTK's own, `NLTK_EXTENSIONS`: its default.
    Nltk,
    /// Porter's later ones, `MARTIN_EXTENSIONS`.
    Martin,
    /// The paper's, `ORIGINAL_ALGORITHM`.
    Original,
}

/// Words that NLTK's mode looks up instead, with their stems.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// The stem of a word, in lower case. Takes time in proportion to the word's length.
pub fn stem(word: &str, mode: Mode) -> String {
    let word = word.to_lowercase();
    if mode == Mode::Nltk
        && let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word)
    {
        return stem.to_string();
    }
    let mut word = Word { letters: word.chars().collect(), mode };
    if mode == Mode::Original || word.letters.len() > 2 {
        word.plural();
        word.past();
        word.final_y();
        word.double_suffix();
        word.long_suffix();
        word.last_suffix();
        word.final_e();
        word.final_l();
    }
    word.letters.into_iter().collect()
}

/// A suffix and what takes its place.
type Rule = (&'static str, &'static str);

struct Word {
    letters: Vec<char>,
    mode: Mode,
}

impl Word {
    /// Step 1a.
    fn plural(&mut self) {
        if self.mode == Mode::Nltk && self.letters.len() == 4 && self.replace("ies", "ie") {
            return;
        }
        let _ = self.replace("sses", "ss") || self.replace("ies", "i") || self.ends("ss") || self.replace("s", "");
    }

    /// Step 1b.
    fn past(&mut self) {
        if self.mode == Mode::Nltk && self.ends("ied") {
            let stem = if self.letters.len() == 4 { "ie" } else { "i" };
            self.replace("ied", stem);
            return;
        }
        if self.ends("eed") {
            if self.measure(3) > 0 {
                self.replace("eed", "ee");
            }
            return;
        }
        let suffix = ["ed", "ing"].into_iter().find(|suffix| self.ends(suffix) && self.has_vowel(suffix.len()));
        let Some(suffix) = suffix else { return };
        self.replace(suffix, "");
        if self.replace("at", "ate") || self.replace("bl", "ble") || self.replace("iz", "ize") {
            return;
        }
        if self.ends_double_consonant() {
            if !matches!(self.letters.last(), Some('l' | 's' | 'z')) {
                self.letters.pop();
            }
        } else if self.measure(0) == 1 && self.ends_short(0) {
            self.letters.push('e');
        }
    }

    /// Step 1c.
    fn final_y(&mut self) {
        let stem = self.letters.len().saturating_sub(1);
        let changes = match self.mode {
            Mode::Nltk => stem > 1 && self.is_consonant(stem - 1),
            _ => self.has_vowel(1),
        };
        if self.ends("y") && changes {
            self.letters[stem] = 'i';
        }
    }

    /// Step 2.
    fn double_suffix(&mut self) {
        const UP_TO_IZER: [Rule; 5] =
            [("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize")];
        const FROM_ALLI: [Rule; 14] = [
            ("alli", "al"),
            ("entli", "ent"),
            ("eli", "e"),
            ("ousli", "ous"),
            ("ization", "ize"),
            ("ation", "ate"),
            ("ator", "ate"),
            ("alism", "al"),
            ("iveness", "ive"),
            ("fulness", "ful"),
            ("ousness", "ous"),
            ("aliti", "al"),
            ("iviti", "ive"),
            ("biliti", "ble"),
        ];
        // In NLTK's mode what `alli` leaves is looked at once more.
        if self.mode == Mode::Nltk && self.ends("alli") && self.measure(4) > 0 {
            self.replace("alli", "al");
            return self.double_suffix();
        }
        let able = if self.mode == Mode::Original { ("abli", "able") } else { ("bli", "ble") };
        if self.first_rule(&UP_TO_IZER, 0) || self.first_rule(&[able], 0) || self.first_rule(&FROM_ALLI, 0) {
            return;
        }
        match self.mode {
            // The `l` counts as the stem's, so that short ones like `geo` work.
            Mode::Nltk => {
                if !self.first_rule(&[("fulli", "ful")], 0) && self.ends("logi") && self.measure(3) > 0 {
                    self.replace("logi", "log");
                }
            }
            Mode::Martin => {
                self.first_rule(&[("logi", "log")], 0);
            }
            Mode::Original => {}
        }
    }

    /// Step 3.
    fn long_suffix(&mut self) {
        const RULES: [Rule; 7] = [
            ("icate", "ic"),
            ("ative", ""),
            ("alize", "al"),
            ("iciti", "ic"),
            ("ical", "ic"),
            ("ful", ""),
            ("ness", ""),
        ];
        self.first_rule(&RULES, 0);
    }

    /// Step 4.
    fn last_suffix(&mut self) {
        const UP_TO_ENT: [Rule; 11] = [
            ("al", ""),
            ("ance", ""),
            ("ence", ""),
            ("er", ""),
            ("ic", ""),
            ("able", ""),
            ("ible", ""),
            ("ant", ""),
            ("ement", ""),
            ("ment", ""),
            ("ent", ""),
        ];
        const FROM_OU: [Rule; 7] =
            [("ou", ""), ("ism", ""), ("ate", ""), ("iti", ""), ("ous", ""), ("ive", ""), ("ize", "")];
        if self.first_rule(&UP_TO_ENT, 1) {
            return;
        }
        if self.ends("ion") {
            let before = self.letters.len().checked_sub(4).map(|at| self.letters[at]);
            if self.measure(3) > 1 && matches!(before, Some('s' | 't')) {
                self.replace("ion", "");
            }
            return;
        }
        self.first_rule(&FROM_OU, 1);
    }

    /// Step 5a.
    fn final_e(&mut self) {
        if self.ends("e") {
            let measure = self.measure(1);
            if measure > 1 || measure == 1 && !self.ends_short(1) {
                self.letters.pop();
            }
        }
    }

    /// Step 5b.
    fn final_l(&mut self) {
        if self.ends("ll") && self.measure(1) > 1 {
            self.letters.pop();
        }
    }

    fn ends(&self, suffix: &str) -> bool {
        suffix.len() <= self.letters.len()
            && suffix.chars().rev().eq(self.letters.iter().rev().copied().take(suffix.len()))
    }

    /// Whether the word had the suffix, which is then replaced.
    fn replace(&mut self, suffix: &str, by: &str) -> bool {
        let ends = self.ends(suffix);
        if ends {
            self.letters.truncate(self.letters.len() - suffix.len());
            self.letters.extend(by.chars());
        }
        ends
    }

    /// Whether a rule has the word's suffix: the first that has is applied where the measure of what is before the suffix
    /// is above `above`, and no other is tried.
    fn first_rule(&mut self, rules: &[Rule], above: usize) -> bool {
        let Some((suffix, by)) = rules.iter().find(|(suffix, _)| self.ends(suffix)) else { return false };
        if self.measure(suffix.len()) > above {
            self.replace(suffix, by);
        }
        true
    }

    fn is_consonant(&self, at: usize) -> bool {
        let ys = self.letters[..=at].iter().rev().take_while(|letter| **letter == 'y').count();
        // Of a run of y, behind a consonant: vowel, consonant, vowel, ..
        match (at + 1).checked_sub(ys + 1) {
            Some(before) if ys > 0 => is_vowel(self.letters[before]) == (ys % 2 == 1),
            Some(_) => !is_vowel(self.letters[at]),
            None => ys % 2 == 1,
        }
    }

    /// For each letter of the word without its last `suffix`, whether it is a consonant.
    fn consonants(&self, suffix: usize) -> impl Iterator<Item = bool> {
        let mut before = false;
        self.letters[..self.letters.len().saturating_sub(suffix)].iter().map(move |letter| {
            before = if *letter == 'y' { !before } else { !is_vowel(*letter) };
            before
        })
    }

    /// How many times a consonant follows a vowel in the word without its last `suffix` letters: the paper's m.
    fn measure(&self, suffix: usize) -> usize {
        let mut after_vowel = false;
        let mut count = 0;
        for consonant in self.consonants(suffix) {
            count += usize::from(consonant && after_vowel);
            after_vowel = !consonant;
        }
        count
    }

    fn has_vowel(&self, suffix: usize) -> bool {
        self.consonants(suffix).any(|consonant| !consonant)
    }

    fn ends_double_consonant(&self) -> bool {
        match self.letters.as_slice() {
            [.., before, last] => before == last && self.is_consonant(self.letters.len() - 1),
            _ => false,
        }
    }

    /// Whether the word without its last `suffix` letters ends with consonant, vowel, consonant, of which the last is none of
    /// w, x, y: the paper's *o. NLTK's mode has two letters, a vowel and a consonant, too.
    fn ends_short(&self, suffix: usize) -> bool {
        let length = self.letters.len() - suffix;
        match length {
            0 | 1 => false,
            2 => self.mode == Mode::Nltk && !self.is_consonant(0) && self.is_consonant(1),
            _ => {
                self.is_consonant(length - 3)
                    && !self.is_consonant(length - 2)
                    && self.is_consonant(length - 1)
                    && !matches!(self.letters[length - 1], 'w' | 'x' | 'y')
            }
        }
    }
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u')
}
