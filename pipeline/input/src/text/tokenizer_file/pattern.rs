//! Regular expressions of a tokenizer: only those that take linear time on every text.
//!
//! The library's engine goes back over a text wherever a repetition was too greedy. So a short pattern may take hours on a short
//! text, or run into the engine's own limit, at which the library panics. A pattern is accepted where nothing can fail after a
//! repetition without bound: then nothing is tried twice. What the families of models have beyond that is known by its words.

use std::ops::Range;

/// Longest pattern in bytes; that of GPT-4o has 400.
pub(super) const BYTES: usize = 2048;
/// Most alternatives: each may be tried at each place of a text.
const ALTERNATIVES: usize = 64;
/// Deepest nesting of groups.
const DEPTH: usize = 4;
/// A repetition of more is one without bound.
const FEW: u32 = 8;
/// Most ways in which one alternative may match before a repetition without bound.
const WAYS: u32 = 64;

/// Alternatives of GPT-2, Llama 3, Qwen 2, Mistral and GPT-4o that look at a run of characters and may leave it to a later
/// alternative, which then takes all of it.
const KNOWN: [(&str, &str); 5] = [
    (r"\s+(?!\S)", r"\s+"),
    (r"\s*[\r\n]+", r"\s+"),
    (r"\s*[\r\n]", r"\s+"),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    ),
];

/// Whether a pattern takes linear time.
///
/// # Errors
/// What it has that may take longer, or that is not known here.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() || pattern.len() > BYTES {
        return Err(format!("a pattern of {} bytes", pattern.len()));
    }
    let mut parser = Parser { rest: pattern.chars().collect(), at: 0, alternatives: 0 };
    let alternatives = parser.alternatives(0)?;
    if parser.at < parser.rest.len() {
        return Err("a `)` without its `(`".into());
    }
    let text = |alternative: &Alternative| parser.rest[alternative.range.clone()].iter().collect();
    let texts: Vec<String> = alternatives.iter().map(text).collect();
    for (number, alternative) in alternatives.into_iter().enumerate() {
        let Some(fault) = alternative.fault else { continue };
        let later = KNOWN.iter().find(|(known, _)| *known == texts[number]).map(|(_, later)| *later);
        if !later.is_some_and(|later| texts[number + 1..].iter().any(|text| text == later)) {
            return Err(format!("{fault} in `{}`", shown(&texts[number])));
        }
    }
    Ok(())
}

/// The beginning of a long text.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { cut + ".." } else { cut }
}

/// A part of a pattern and how it matches.
struct Atom {
    /// In how many ways, repetitions without bound left out.
    ways: u32,
    /// Whether a repetition is in it.
    repeats: bool,
    /// Whether one without bound is in it.
    unbounded: bool,
}

/// An alternative: its place, its ways, and what is wrong with it where another one of the pattern may make up for that.
struct Alternative {
    range: Range<usize>,
    ways: u32,
    unbounded: bool,
    fault: Option<String>,
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    alternatives: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest[self.at..].iter().copied().take(word.len()).eq(word.chars());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// The alternatives up to the end or a closing bracket, each with what is wrong with it.
    fn alternatives(&mut self, depth: usize) -> Result<Vec<Alternative>, String> {
        let mut found = Vec::new();
        loop {
            self.alternatives += 1;
            if self.alternatives > ALTERNATIVES {
                return Err(format!("more than {ALTERNATIVES} alternatives"));
            }
            found.push(self.sequence(depth)?);
            if !self.take("|") {
                return Ok(found);
            }
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Alternative, String> {
        let (start, mut ways, mut unbounded, mut fault) = (self.at, 1u32, false, None);
        while let Some(character) = self.peek().filter(|character| !['|', ')'].contains(character)) {
            let atom = self.atom(character, depth, &mut fault)?;
            let (least, most) = self.repetition()?;
            let is_repeated = (least, most) != (1, 1);
            if atom.repeats && most > 1 || atom.unbounded && is_repeated {
                return Err("a repetition within a repetition".into());
            }
            if unbounded && least > 0 {
                fault.get_or_insert_with(|| "a repetition without bound and something after it".to_owned());
            }
            if most > FEW || atom.unbounded {
                unbounded = true;
            } else if atom.ways > 1 && most > 1 {
                return Err("a repetition of alternatives".into());
            } else {
                ways = ways.saturating_mul(atom.ways.saturating_add(most - least));
            }
            if ways > WAYS {
                return Err(format!("more than {WAYS} ways to match"));
            }
        }
        Ok(Alternative { range: start..self.at, ways, unbounded, fault })
    }

    fn atom(&mut self, character: char, depth: usize, fault: &mut Option<String>) -> Result<Atom, String> {
        let plain = Atom { ways: 1, repeats: false, unbounded: false };
        self.at += 1;
        match character {
            '[' => self.class(0).map(|()| plain),
            '\\' => self.escape().map(|()| plain),
            '*' | '+' | '?' | '{' => Err("a repetition of nothing".into()),
            '(' if depth == DEPTH => Err(format!("groups within groups, more than {DEPTH} deep")),
            '(' if self.take("?!") || self.take("?=") => {
                fault.get_or_insert_with(|| "a condition on what follows".to_owned());
                self.group(depth).map(|_| plain)
            }
            '(' => {
                if !(self.take("?:") || self.take("?i:")) && self.peek() == Some('?') {
                    return Err("a group of an unknown kind".into());
                }
                self.group(depth)
            }
            _ => Ok(plain),
        }
    }

    fn group(&mut self, depth: usize) -> Result<Atom, String> {
        let start = self.at;
        let alternatives = self.alternatives(depth + 1)?;
        let repeats = self.rest[start..self.at].iter().any(|character| ['?', '*', '+', '{'].contains(character));
        let ways = alternatives.iter().fold(0, |sum: u32, alternative| sum.saturating_add(alternative.ways));
        let unbounded = alternatives.iter().any(|alternative| alternative.unbounded);
        if let Some(fault) = alternatives.into_iter().find_map(|alternative| alternative.fault) {
            return Err(fault);
        }
        if self.take(")") { Ok(Atom { ways, repeats, unbounded }) } else { Err("a `(` without its `)`".into()) }
    }

    /// The rest of a class of characters.
    fn class(&mut self, depth: usize) -> Result<(), String> {
        self.take("^");
        // A bracket that comes first is a character.
        self.take("]");
        loop {
            let character = self.peek().ok_or("a `[` without its `]`")?;
            self.at += 1;
            match character {
                ']' => return Ok(()),
                '\\' => self.escape()?,
                '[' if depth == DEPTH => return Err(format!("classes within classes, more than {DEPTH} deep")),
                '[' => self.class(depth + 1)?,
                _ => {}
            }
        }
    }

    /// The rest of an escape: a character, a kind of characters or a property.
    fn escape(&mut self) -> Result<(), String> {
        let character = self.peek().ok_or("a backslash without a character")?;
        self.at += 1;
        match character {
            'p' | 'P' => {
                let close = self.rest[self.at..].iter().take(40).position(|character| *character == '}');
                let close = close.filter(|_| self.peek() == Some('{')).ok_or("a property without a name")?;
                self.at += close + 1;
                Ok(())
            }
            's' | 'S' | 'd' | 'D' | 'w' | 'W' | 'h' | 'H' | 'r' | 'n' | 't' | 'f' | 'v' | 'a' | 'e' | 'x' | 'u' => {
                Ok(())
            }
            other if other.is_ascii_alphanumeric() => Err(format!("`\\{other}`")),
            _ => Ok(()),
        }
    }

    /// How often the part before may match, at least and at most.
    fn repetition(&mut self) -> Result<(u32, u32), String> {
        let found = match self.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, u32::MAX),
            Some('+') => (1, u32::MAX),
            Some('{') => {
                let inner = &self.rest[self.at + 1..];
                let length = inner.iter().take(12).position(|character| *character == '}');
                let length = length.ok_or("a `{` that is no repetition")?;
                let text: String = inner[..length].iter().collect();
                self.at += length + 1;
                let (least, most) = text.split_once(',').unwrap_or((&text, &text));
                let number = |word: &str| word.parse::<u32>().map_err(|_| format!("`{{{text}}}`"));
                let least = if least.is_empty() { 0 } else { number(least)? };
                let most = if most.is_empty() { u32::MAX } else { number(most)? };
                if least > most {
                    return Err(format!("`{{{text}}}`"));
                }
                (least, most)
            }
            _ => return Ok((1, 1)),
        };
        self.at += 1;
        match self.peek() {
            Some('?' | '+' | '*' | '{') => Err("a repetition that is lazy, possessive or repeated".into()),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_families_are_accepted() {
        let llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let mistral = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let gpt4o = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        for pattern in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            llama3,
            &llama3.replace("{1,3}", ""),
            mistral,
            gpt4o,
            r"[!-/\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            "[一-龥\u{3040}-ゟ゠-ヿ]+",
            r"\p{N}{1,3}",
            " {2,}",
            r"\s+",
            "(?:ab|cd)+",
            "``",
            r"\d",
            "[]a]",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_may_go_back_are_refused() {
        for pattern in [
            "(a+)+$",
            "(a+)+",
            "(a*)*",
            "(a|a?)+b",
            "(?:a{0,8}){0,8}",
            "a*b",
            "a*a*b",
            r"\s+$",
            r"(\w+\s?)*$",
            r"(a)\1",
            "(?<=a+)b",
            "(?>a*)b",
            "a+?b",
            "a++b",
            "(?=a*b)a",
            "a{0,3000}b",
            "a?a?a?a?a?a?a?b",
            r"\s+(?!\S)",
            r"\s*[\r\n]+|x",
            "(?:a*)?b",
            "a{",
            "a{3,1}",
            "(?:a|ab){2}",
            "(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)b",
            "(?:a+)?b",
            "(",
            ")",
            "[",
            "[[[[[[",
            r"\",
            r"\p{",
            "*",
            "",
            &"(".repeat(2000),
            &"a|".repeat(100),
            &"a".repeat(3000),
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }
}
