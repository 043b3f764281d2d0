//! A run's configuration: TOML text plus `--set a.b=value` overrides to a typed value; an unknown key is an error that
//! names the nearest valid one.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::SchemaError;

/// Deepest key of an override, and deepest table of a file; the programs' own are 6 deep.
const DEPTH: usize = 32;
/// Longest override in bytes.
const OVERRIDE: usize = 1 << 16;
/// Longest line of a message in characters; a file may have all of itself in one.
const MESSAGE_LINE: usize = 400;
/// As many characters of an unknown word are compared with the known ones.
const WORD: usize = 100;

/// Parses `text`, applies the overrides in order, and builds the typed configuration.
///
/// An override is `path.to.key=value`; the value is read as TOML and, where that fails, taken as a string. `name` is the
/// file's name, which starts each message.
///
/// # Errors
/// Text that is not TOML or nested too deeply, an override without `=`, an unknown key, a missing key, a value of the wrong type.
pub fn parse<T: DeserializeOwned>(name: &str, text: &str, overrides: &[String]) -> Result<T, SchemaError> {
    // The text alone first: its errors can point to the line.
    check_depth(text).map_err(|message| error(name, &message))?;
    if overrides.is_empty() {
        return toml::from_str(text).map_err(|e| error(name, &e.to_string()));
    }
    typed(name, toml::from_str(text).map_err(|e| error(name, &e.to_string()))?, overrides)
}

/// A key of earlier versions and where its value stands now, as dotted paths.
pub type Moved = (&'static str, &'static str);

/// As [`parse`], where keys of earlier versions are read too; gives those that were met.
///
/// # Errors
/// As [`parse`]; a file that states both the earlier key and the present one.
pub fn parse_moved<T: DeserializeOwned>(
    name: &str,
    text: &str,
    overrides: &[String],
    moved: &[Moved],
) -> Result<(T, Vec<Moved>), SchemaError> {
    let mut table = stated(name, text, &[])?;
    let mut met = moved_values(&mut table, moved).map_err(|message| error(name, &message))?;
    let renamed = overrides.iter().map(|entry| {
        let found =
            moved.iter().find(|(earlier, _)| entry.split_once('=').is_some_and(|(key, _)| key.trim() == *earlier));
        found.map_or(entry.clone(), |&(earlier, now)| {
            met.push((earlier, now));
            entry.replacen(earlier, now, 1)
        })
    });
    let renamed: Vec<String> = renamed.collect();
    if met.is_empty() {
        return Ok((parse(name, text, overrides)?, met));
    }
    met.sort_unstable();
    met.dedup();
    Ok((typed(name, table, &renamed)?, met))
}

/// Moves the values of earlier keys to where they stand now; gives the keys that were there.
///
/// # Errors
/// Both keys have a value, in words.
pub fn moved_values(table: &mut Table, moved: &[Moved]) -> Result<Vec<Moved>, String> {
    let mut met = Vec::new();
    for &(earlier, now) in moved {
        let Some(value) = take(table, earlier) else { continue };
        let mut inner = &mut *table;
        let mut keys: Vec<&str> = now.split('.').collect();
        let last = keys.pop().expect("a split has a part");
        for key in keys {
            let entry = inner.entry(key).or_insert_with(|| Value::Table(Table::new()));
            inner = entry.as_table_mut().ok_or_else(|| format!("{key}: expected a table, found a value"))?;
        }
        if inner.insert(last.to_owned(), value).is_some() {
            return Err(format!("expected {now} alone, found {earlier} too, its name in earlier versions"));
        }
        met.push((earlier, now));
    }
    Ok(met)
}

/// Removes the value of a dotted path.
fn take(table: &mut Table, path: &str) -> Option<Value> {
    match path.split_once('.') {
        None => table.remove(path),
        Some((key, rest)) => take(table.get_mut(key)?.as_table_mut()?, rest),
    }
}

/// Applies the overrides to a configuration that is typed already.
///
/// # Errors
/// As [`parse`].
pub fn override_values<T: Serialize + DeserializeOwned>(
    name: &str,
    config: &T,
    overrides: &[String],
) -> Result<T, SchemaError> {
    typed(name, Table::try_from(config).map_err(|e| error(name, &e.to_string()))?, overrides)
}

/// The values that a text and the overrides state, without a type.
///
/// # Errors
/// As [`parse`], but for keys and types.
pub fn stated(name: &str, text: &str, overrides: &[String]) -> Result<Table, SchemaError> {
    check_depth(text).map_err(|message| error(name, &message))?;
    overridden(name, toml::from_str(text).map_err(|e| error(name, &e.to_string()))?, overrides)
}

fn overridden(name: &str, mut table: Table, overrides: &[String]) -> Result<Table, SchemaError> {
    for entry in overrides {
        set(&mut table, entry).map_err(|message| error(name, &message))?;
    }
    Ok(table)
}

fn typed<T: DeserializeOwned>(name: &str, table: Table, overrides: &[String]) -> Result<T, SchemaError> {
    let table = overridden(name, table, overrides)?;
    T::deserialize(Value::Table(table)).map_err(|e| error(name, &e.to_string()))
}

fn error(name: &str, message: &str) -> SchemaError {
    let message = with_nearest(message.trim_end());
    let lines: Vec<String> = message.lines().map(|line| shortened(line, MESSAGE_LINE)).collect();
    SchemaError::Config { message: format!("{name}: {}", lines.join("\n")) }
}

/// A text, or its beginning where it has more than so many characters.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{} ..", &text[..end]),
        None => text.to_owned(),
    }
}

/// Refuses TOML whose brackets or dotted keys are so deep that tables made of them would exhaust the stack.
fn check_depth(text: &str) -> Result<(), String> {
    let (mut dots, mut open, mut line) = (0, 0usize, 1);
    let mut rest = text;
    while let Some(byte) = rest.bytes().next() {
        let mut length = 1;
        match byte {
            b'[' | b'{' => (open, dots) = (open + 1, 0),
            b']' | b'}' => (open, dots) = (open.saturating_sub(1), 0),
            b'.' => dots += 1,
            b'=' | b',' => dots = 0,
            b'\n' => (dots, line) = (0, line + 1),
            b'#' => length = rest.find('\n').unwrap_or(rest.len()),
            b'"' | b'\'' => {
                length = string_length(rest);
                line += rest[..length].matches('\n').count();
            }
            _ => {}
        }
        if open.max(dots) > DEPTH {
            return Err(format!("expected at most {DEPTH} levels of tables and lists, found more in line {line}"));
        }
        rest = rest.get(length..).unwrap_or_else(|| rest.trim_start_matches(|character: char| !character.is_ascii()));
    }
    Ok(())
}

/// The length of the string that a text begins with; up to the line's end where it isn't closed.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let long = quote.repeat(3);
    let quote = if text.starts_with(&long) { long.as_str() } else { quote };
    let mut at = quote.len();
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            _ if text.as_bytes()[at..].starts_with(quote.as_bytes()) => return at + quote.len(),
            b'\n' if quote.len() == 1 => return at,
            b'\\' if quote.starts_with('"') && text.as_bytes().get(at + 1) != Some(&b'\n') => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn set(table: &mut Table, entry: &str) -> Result<(), String> {
    if entry.len() > OVERRIDE {
        let (start, found) = (shortened(entry, WORD), entry.len());
        return Err(format!("--set {start}: expected at most {OVERRIDE} bytes, found {found}; a file may be longer"));
    }
    let (path, text) = entry.split_once('=').ok_or_else(|| format!("--set {entry}: expected KEY=VALUE"))?;
    if path.split('.').count() > DEPTH {
        let (start, found) = (shortened(path, WORD), path.split('.').count());
        return Err(format!("--set {start}: expected a key of at most {DEPTH} levels, found {found}"));
    }
    let parsed = match check_depth(text) {
        Err(message) if text.trim_start().starts_with(['[', '{']) => {
            return Err(format!("--set {}: {message}", shortened(path, WORD)));
        }
        Err(_) => None,
        Ok(()) => toml::from_str::<Table>(&format!("value = {text}")).ok(),
    };
    let value = parsed.and_then(|mut parsed| parsed.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()));
    let mut keys = path.trim().split('.').collect::<Vec<_>>();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| format!("--set {entry}: the key is empty"))?;
    let mut inner = table;
    for key in keys {
        inner = inner
            .entry(key)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("--set {entry}: `{key}` is a value, not a table"))?;
    }
    inner.insert(last.to_owned(), value);
    Ok(())
}

/// Adds words that are read too to the schema of a choice, since a derived one has each value's first word alone.
pub fn also_accepts(schema: &mut schemars::Schema, words: &[&str]) {
    if let Some(choices) = schema.get_mut("oneOf").and_then(|choices| choices.as_array_mut()) {
        choices.extend(words.iter().map(|word| serde_json::json!({ "type": "string", "const": word })));
    }
}

/// Adds another spelling of a key to the schema of a table.
pub fn also_reads(schema: &mut schemars::Schema, key: &str, other: &str) {
    if let Some(properties) = schema.get_mut("properties").and_then(|properties| properties.as_object_mut())
        && let Some(value) = properties.get(key).cloned()
    {
        properties.insert(other.to_owned(), value);
    }
}

/// Removes the default of keys for which it depends on the data; their descriptions say how.
pub fn depends_on_data(schema: &mut schemars::Schema, keys: &[&str]) {
    for key in keys {
        if let Some(value) = schema.get_mut("properties").and_then(|properties| properties.get_mut(key)) {
            value.as_object_mut().map(|value| value.remove("default"));
        }
    }
}

/// The known word that is most like another one and is not the same, of which the first hundred characters are looked at; `None`
/// where none is known.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.char_indices().nth(WORD).map_or(word, |(end, _)| &word[..end]);
    // The same word where it stands in another table: to propose it again helps nobody.
    let known = known.filter(|other| *other != word);
    known.max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)))
}

/// Adds "did you mean" to serde's message about an unknown field or variant, from the valid names that it lists.
fn with_nearest(message: &str) -> String {
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|lead| message.split_once(lead));
    let Some((unknown, rest)) = unknown.and_then(|(_, after)| after.split_once('`')) else {
        return message.to_owned();
    };
    // What is quoted in further lines is where the word stands: itself, or the tables around it.
    let valid = rest.lines().next().unwrap_or_default().split('`').skip(1).step_by(2);
    match nearest(unknown, valid) {
        Some(nearest) => format!("{message}\nhint: did you mean `{nearest}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Run {
        seed: u64,
        optimizer: Optimizer,
    }

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Optimizer {
        learning_rate: f64,
        name: String,
    }

    const TEXT: &str = "seed = 1\n[optimizer]\nlearning_rate = 1e-3\nname = \"adamw\"\n";

    #[test]
    fn overrides_win_over_the_file() {
        let run: Run =
            parse("run.toml", TEXT, &["optimizer.learning_rate=2e-4".into(), "optimizer.name=sgd".into()]).unwrap();
        assert_eq!(run, Run { seed: 1, optimizer: Optimizer { learning_rate: 2e-4, name: "sgd".into() } });
        let again = override_values("run.toml", &run, &["seed=2".into()]).unwrap();
        assert_eq!(again, Run { seed: 2, ..run });
    }

    #[test]
    fn keys_of_earlier_versions_are_read_where_they_stood() {
        const MOVED: [Moved; 2] = [("rate", "optimizer.learning_rate"), ("old.name", "optimizer.name")];
        let expected = Run { seed: 1, optimizer: Optimizer { learning_rate: 2e-4, name: "sgd".into() } };
        let read = |text: &str, overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|entry| (*entry).to_owned()).collect();
            parse_moved::<Run>("run.toml", text, &overrides, &MOVED)
        };
        let earlier = "seed = 1\nrate = 2e-4\n[old]\nname = \"sgd\"\n[optimizer]\n";
        // The table that is left has no key, but it is still there.
        assert!(read(earlier, &[]).unwrap_err().to_string().contains("unknown field `old`"));
        let text = "seed = 1\nrate = 2e-4\n[optimizer]\nname = \"sgd\"\n";
        assert_eq!(read(text, &[]).unwrap(), (Run { seed: 1, ..expected }, vec![MOVED[0]]));
        let (found, met) = read(TEXT, &["rate=2e-4", "old.name=sgd"]).unwrap();
        assert_eq!((found.optimizer.learning_rate, found.optimizer.name.as_str()), (2e-4, "sgd"));
        assert_eq!(met, [MOVED[1], MOVED[0]]);
        assert_eq!(read(TEXT, &["seed=3"]).unwrap().1, []);
        let both = read(&TEXT.replace("[optimizer]", "rate = 1\n[optimizer]"), &[]).unwrap_err().to_string();
        assert!(both.contains("optimizer.learning_rate alone") && both.contains("found rate"), "{both}");
        let line = read(&TEXT.replace("1e-3", "\"x\""), &[]).unwrap_err().to_string();
        assert!(line.contains("learning_rate = \"x\""), "{line}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        for result in [
            parse::<Run>("run.toml", &TEXT.replace("learning_rate", "learning_rat"), &[]),
            parse::<Run>("run.toml", TEXT, &["optimizer.learning_rat=1".into()]),
        ] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains("run.toml") && message.contains("did you mean `learning_rate`?"), "{message}");
        }
    }

    #[test]
    fn the_word_itself_and_its_place_are_never_proposed() {
        for word in ["seed", "optimizer", "learning", "optimizer.x", "x"] {
            let key = format!("optimizer.\"{word}\"");
            let in_file = parse::<Run>("run.toml", &format!("{TEXT}\"{word}\" = 1\n"), &[]);
            let in_override = parse::<Run>("run.toml", TEXT, &[format!("optimizer.{}=1", word.replace('.', "_"))]);
            for message in [in_file, in_override].map(|result| result.unwrap_err().to_string()) {
                let (_, hint) = message.split_once("did you mean").unwrap_or_else(|| panic!("{key}: {message}"));
                assert!(["`learning_rate`", "`name`"].iter().any(|known| hint.contains(known)), "{key}: {message}");
            }
        }
        assert_eq!(nearest("seed", ["seed"].into_iter()), None);
    }

    #[test]
    fn deep_and_long_overrides_and_files_are_refused_in_few_words() {
        let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
        for (text, entry) in [
            (TEXT, "a.".repeat(100_000) + "a=1"),
            (TEXT, "seed.".repeat(10_000) + "=1"),
            (TEXT, "seed=".to_owned() + &deep("[", "]")[..60_000]),
            (TEXT, "seed=".to_owned() + &"{a=".repeat(20_000)),
            (TEXT, "seed={".to_owned() + &"a.".repeat(20_000) + "a=1}"),
            (TEXT, "seed=".to_owned() + &"1".repeat(200_000)),
            (TEXT, "x".repeat(60_000) + "=1"),
            (TEXT, "x".repeat(60_000)),
            (&("a.".repeat(100_000) + "a = 1"), "seed=1".to_owned()),
            (&format!("a = {}", deep("[", "]")), "seed=1".to_owned()),
            (&format!("[{}a]\n", "a.".repeat(100_000)), "seed=1".to_owned()),
            (&format!("a = {}", "{a = ".repeat(100_000)), "seed=1".to_owned()),
            (&format!("{} = 1", "x".repeat(1 << 20)), "seed=1".to_owned()),
        ] {
            let message = parse::<Run>("run.toml", text, &[entry]).unwrap_err().to_string();
            assert!(message.starts_with("run.toml: ") && message.len() < 3000, "{} bytes", message.len());
        }
        // What a configuration may well hold.
        for text in [
            "word. ".repeat(5000),
            format!("'/{}'", "a.b/".repeat(100)),
            format!("\"\\\"{}\" # {}", ".[".repeat(100), "[".repeat(100)),
            format!("\'\'\'{}\'\n{}\'\'\'", ".[".repeat(100), "[".repeat(100)),
        ] {
            let run: Run = parse("run.toml", TEXT, &[format!("optimizer.name={text}")]).unwrap();
            assert!(run.optimizer.name.len() > 80);
            if text.starts_with(['\'', '"']) {
                let file = TEXT.replace("\"adamw\"", &text);
                assert_eq!(parse::<Run>("run.toml", &file, &[]).unwrap(), run);
            }
        }
    }

    #[test]
    fn an_override_must_name_a_key_and_a_value() {
        for bad in ["seed", "=1", "seed.x=1"] {
            assert!(parse::<Run>("run.toml", TEXT, &[bad.into()]).is_err(), "{bad}");
        }
    }
}
