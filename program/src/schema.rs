//! Configurations: what the TOML files of a program's verbs may hold, as JSON schemas and as a page of reference.

use clap::{Args, Subcommand};
use med2e3_schemas::config::nearest;
use serde_json::{Map, Value};

use crate::{Stdout, reference};

/// The TOML file of one verb.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The verb that reads it.
    pub verb: &'static str,
    /// Its JSON schema: of what is read, without `null`, which TOML does not have.
    pub schema: Value,
}

impl Configuration {
    /// From the schema that is derived from a configuration's type.
    pub fn new(verb: &'static str, derived: Value) -> Configuration {
        let mut schema = derived;
        tidy(&mut schema);
        Configuration { verb, schema }
    }
}

/// The arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print the JSON schema of a verb's TOML file, for editors and checks; of all of them by verb without NAME
    Schema {
        /// The verb that reads the file
        name: Option<String>,
    },
    /// Print every key with its values, its default and its meaning, as docs/configuration.md has them
    Reference,
}

impl ConfigArgs {
    /// Prints a schema or the reference.
    ///
    /// # Errors
    /// No such configuration; standard output refuses the write.
    pub fn run(&self, program: &str, configurations: &[Configuration], out: &mut Stdout) -> anyhow::Result<()> {
        match &self.verb {
            ConfigVerb::Schema { name: None } => {
                let all: Map<_, _> = configurations.iter().map(|c| (c.verb.to_owned(), c.schema.clone())).collect();
                print(out, &Value::Object(all))
            }
            ConfigVerb::Schema { name: Some(name) } => {
                let found = configurations.iter().find(|configuration| configuration.verb == name);
                print(out, &found.ok_or_else(|| unknown(name, configurations))?.schema)
            }
            ConfigVerb::Reference => {
                configurations.iter().try_for_each(|c| out.data(reference::of(program, c).as_bytes()))?;
                Ok(())
            }
        }
    }
}

fn unknown(name: &str, configurations: &[Configuration]) -> anyhow::Error {
    let verbs = || configurations.iter().map(|configuration| configuration.verb);
    let known = verbs().collect::<Vec<_>>().join(", ");
    let hint = nearest(name, verbs()).unwrap_or_default();
    anyhow::anyhow!("expected a verb with a configuration ({known}), found `{name}`\nhint: did you mean `{hint}`?")
}

fn print(out: &mut Stdout, schema: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(schema)?;
    Ok(out.json_lines(&(text + "\n"))?)
}

/// Makes a derived schema one of TOML files: no `null`, and no links of Rust's documentation in its texts.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    fields.remove("anyOf");
                    only.into_iter().for_each(|(key, value)| _ = fields.entry(key).or_insert(value));
                }
            }
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = plain(text);
            }
            fields.iter_mut().filter(|(key, _)| *key != "default").for_each(|(_, value)| tidy(value));
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// A text of Rust's documentation as one line, its links as the words alone.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        plain.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let Some(end) = rest.find("`]") else { break };
        plain.push_str(&rest[..=end]);
        rest = &rest[end + 2..];
        if rest.starts_with('(')
            && let Some(end) = rest.find(')')
        {
            rest = &rest[end + 1..];
        }
    }
    plain.push_str(rest);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_one_of_toml_files() {
        let derived = json!({
            "properties": {
                "a": {"type": ["integer", "null"], "default": null, "description": "As [`x`](crate::x) and\n[`y`]."},
                "b": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}], "description": "One."},
            }
        });
        let expected = json!({
            "properties": {
                "a": {"type": "integer", "description": "As `x` and `y`."},
                "b": {"$ref": "#/$defs/B", "description": "One."},
            }
        });
        assert_eq!(Configuration::new("prepare", derived).schema, expected);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let one = [Configuration::new("prepare", json!({})), Configuration::new("sample", json!({}))];
        let message = unknown("sampel", &one).to_string();
        assert!(message.contains("prepare, sample") && message.contains("did you mean `sample`?"), "{message}");
    }
}
