//! A run's configuration: TOML text plus `--set a.b=value` overrides to a typed value; an unknown key is an error that
//! names the nearest valid one.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::SchemaError;

/// Parses `text`, applies the overrides in order, and builds the typed configuration.
///
/// An override is `path.to.key=value`; the value is read as TOML and, where that fails, taken as a string. `name` is the
/// file's name, which starts each message.
///
/// # Errors
/// Text that is not TOML, an override without `=`, an unknown key, a missing key, a value of the wrong type.
pub fn parse<T: DeserializeOwned>(name: &str, text: &str, overrides: &[String]) -> Result<T, SchemaError> {
    // The text alone first: its errors can point to the line.
    if overrides.is_empty() {
        return toml::from_str(text).map_err(|e| error(name, &e.to_string()));
    }
    typed(name, toml::from_str(text).map_err(|e| error(name, &e.to_string()))?, overrides)
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

fn typed<T: DeserializeOwned>(name: &str, mut table: Table, overrides: &[String]) -> Result<T, SchemaError> {
    for entry in overrides {
        set(&mut table, entry).map_err(|message| error(name, &message))?;
    }
    T::deserialize(Value::Table(table)).map_err(|e| error(name, &e.to_string()))
}

fn error(name: &str, message: &str) -> SchemaError {
    SchemaError::Config { message: format!("{name}: {}", with_nearest(message.trim_end())) }
}

fn set(table: &mut Table, entry: &str) -> Result<(), String> {
    let (path, text) = entry.split_once('=').ok_or_else(|| format!("--set {entry}: expected KEY=VALUE"))?;
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
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

/// The known word that is most like another one; `None` where none is known.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)))
}

/// Adds "did you mean" to serde's message about an unknown field or variant, from the valid names that it lists.
fn with_nearest(message: &str) -> String {
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|lead| message.split_once(lead));
    let Some((unknown, rest)) = unknown.and_then(|(_, after)| after.split_once('`')) else {
        return message.to_owned();
    };
    let valid = rest.split('`').skip(1).step_by(2);
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
    fn an_override_must_name_a_key_and_a_value() {
        for bad in ["seed", "=1", "seed.x=1"] {
            assert!(parse::<Run>("run.toml", TEXT, &[bad.into()]).is_err(), "{bad}");
        }
    }
}
