//! Reference: a configuration's schema as Markdown, a list of keys with their values, defaults and meanings.

use serde_json::{Map, Value};

use crate::schema::Configuration;

/// Longest line.
const WIDTH: usize = 120;

/// A section of the page, ended by an empty line.
pub(crate) fn of(program: &str, configuration: &Configuration) -> String {
    let Configuration { verb, schema } = configuration;
    let mut page = Page { root: schema, text: format!("## {program} {verb}\n\n") };
    page.keys("", schema);
    page.text.push('\n');
    page.text
}

/// A page that grows.
struct Page<'a> {
    root: &'a Value,
    text: String,
}

impl<'a> Page<'a> {
    /// A schema with what it refers to.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema["$ref"].as_str() else { return schema };
        self.root.pointer(reference.trim_start_matches('#')).unwrap_or(schema)
    }

    /// Every key of a table, under the name that the table has.
    fn keys(&mut self, table: &str, schema: &'a Value) {
        let schema = self.resolved(schema);
        let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let name = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
            self.key(&name, value, needed.contains(&key.as_str()));
        }
    }

    fn key(&mut self, name: &str, schema: &'a Value, needed: bool) {
        let presence = match &schema["default"] {
            _ if needed => "must be stated".to_owned(),
            Value::Null => "may be left out".to_owned(),
            Value::Object(fields) if !fields.is_empty() => "may be left out".to_owned(),
            default => format!("default `{}`", toml(default)),
        };
        let of_type = self.resolved(schema);
        let meaning = schema["description"].as_str().or(of_type["description"].as_str()).unwrap_or_default();
        let values = self.values(schema);
        self.item(0, &format!("`{name}`: {values}; {presence}. {meaning}"));
        self.below(name, schema);
    }

    /// What stands below a key: its words with their meanings, and then the keys of its tables.
    fn below(&mut self, name: &str, schema: &'a Value) {
        let mut tables = Vec::new();
        self.words(1, name, schema, &mut tables);
        tables.into_iter().for_each(|(name, schema)| self.keys(&name, schema));
    }

    /// The words of a choice; tables that a value may be are left for later, with their names.
    fn words(&mut self, depth: usize, name: &str, schema: &'a Value, tables: &mut Vec<(String, &'a Value)>) {
        let schema = self.resolved(schema);
        for choice in choices(schema) {
            let choice = self.resolved(choice);
            let meaning = choice["description"].as_str().unwrap_or_default();
            match (word(choice), only_property(choice)) {
                (Some(_), _) if meaning.is_empty() => {}
                (Some(word), _) => self.item(depth, &format!("`{}`: {meaning}", toml(&word.into()))),
                // A choice with values of its own: `{ word = .. }`.
                (None, Some((word, value))) => {
                    let values = self.values(value);
                    self.item(depth, &format!("`{{ {word} = .. }}`, {values}: {meaning}"));
                    self.words(depth + 1, &format!("{name}.{word}"), value, tables);
                }
                (None, None) => self.words(depth, name, choice, tables),
            }
        }
        if choices(schema).is_empty() {
            tables.push((name.to_owned(), schema));
            for (mark, inner) in [("[]", &schema["items"]), (".NAME", &schema["additionalProperties"])] {
                if inner.is_object() {
                    self.words(depth, &format!("{name}{mark}"), inner, tables);
                }
            }
        }
    }

    /// What a value may be, in a few words.
    fn values(&self, schema: &'a Value) -> String {
        let schema = self.resolved(schema);
        let all = choices(schema);
        if !all.is_empty() {
            let mut words: Vec<String> = Vec::new();
            for choice in all {
                let choice = self.resolved(choice);
                let word = match (word(choice), only_property(choice)) {
                    (Some(word), _) => format!("`{}`", toml(&word.into())),
                    (None, Some((word, _))) => format!("`{{ {word} = .. }}`"),
                    (None, None) => self.values(choice),
                };
                words.push(word);
            }
            return words.join(", ");
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().map(|word| format!("`{}`", toml(word))).collect::<Vec<_>>().join(", ");
        }
        let range = range(schema);
        match schema["type"].as_str().unwrap_or_default() {
            "integer" => format!("whole number{range}"),
            "number" => format!("number{range}"),
            "boolean" => "`true` or `false`".to_owned(),
            "string" => "text".to_owned(),
            "array" => {
                let count = schema["minItems"].as_u64().filter(|least| Some(*least) == schema["maxItems"].as_u64());
                let items = self.values(&schema["items"]);
                match count {
                    Some(count) => format!("list of {count}, each {items}"),
                    None => format!("list, each {items}"),
                }
            }
            "object" if schema["additionalProperties"].is_object() => {
                format!("table of names, each with {}", self.values(&schema["additionalProperties"]))
            }
            _ => "table".to_owned(),
        }
    }

    /// An item of the list, broken into lines.
    fn item(&mut self, depth: usize, text: &str) {
        let indent = "  ".repeat(depth);
        let mut line = format!("{indent}-");
        for word in text.split_whitespace() {
            // A line that begins with a mark of Markdown would be another item.
            if line.chars().count() + 1 + word.chars().count() > WIDTH && !["-", "+", "*", "#"].contains(&word) {
                self.text.push_str(&line);
                self.text.push('\n');
                line = format!("{indent} ");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.text.push_str(&line);
        self.text.push('\n');
    }
}

/// The choices between which a value is one.
fn choices(schema: &Value) -> Vec<&Value> {
    ["oneOf", "anyOf"].iter().filter_map(|key| schema[*key].as_array()).flatten().collect()
}

/// The word of a choice, or the title of a pattern of words.
fn word(choice: &Value) -> Option<&str> {
    choice["const"].as_str().or_else(|| choice["title"].as_str().filter(|_| choice["pattern"].is_string()))
}

/// The key of a table that has one alone, and its value.
fn only_property(schema: &Value) -> Option<(&String, &Value)> {
    let properties = schema["properties"].as_object()?;
    (properties.len() == 1 && schema["required"].as_array()?.len() == 1).then(|| properties.iter().next())?
}

fn range(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).map(toml);
    match (bound("minimum"), bound("exclusiveMinimum"), bound("maximum")) {
        (Some(least), _, Some(most)) => format!(", {least} to {most}"),
        (Some(least), _, None) => format!(", {least} or more"),
        (None, Some(above), Some(most)) => format!(", above {above}, at most {most}"),
        (None, Some(above), None) => format!(", above {above}"),
        (None, None, Some(most)) => format!(", at most {most}"),
        (None, None, None) => String::new(),
    }
}

/// A value as TOML has it.
fn toml(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(toml).collect::<Vec<_>>().join(", ");
    let table = |fields: &Map<String, Value>| {
        fields.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect::<Vec<_>>().join(", ")
    };
    match value {
        Value::Array(values) => format!("[{}]", list(values)),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => format!("{{ {} }}", table(fields)),
        Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 1e15) => {
            format!("{}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_ranges_words_and_tables_are_listed() {
        let schema = json!({
            "properties": {
                "seed": {"type": "integer", "minimum": 0, "description": "Seed."},
                "depth": {"type": "integer", "minimum": 1, "maximum": 8, "default": 4, "description": "Depth."},
                "recipe": {"$ref": "#/$defs/Recipe", "description": "Which."},
                "files": {"type": "array", "items": {"$ref": "#/$defs/File"}, "default": [], "description": "Files."},
            },
            "required": ["seed", "recipe"],
            "$defs": {
                "Recipe": {"oneOf": [
                    {"const": "m3d", "description": "Min-max."},
                    {"type": "object", "properties": {"ct": {"$ref": "#/$defs/Ct"}}, "required": ["ct"], "description": "HU."},
                ]},
                "Ct": {"type": "object", "properties": {"crop": {"type": "boolean", "default": true, "description": "Cut."}}},
                "File": {"type": "object", "properties": {"path": {"type": "string", "description": "Path."}}, "required": ["path"]},
            }
        });
        let found = of("med2e3-data", &Configuration { verb: "prepare", schema });
        let expected = "\
## med2e3-data prepare

- `depth`: whole number, 1 to 8; default `4`. Depth.
- `files`: list, each table; default `[]`. Files.
- `files[].path`: text; must be stated. Path.
- `recipe`: `\"m3d\"`, `{ ct = .. }`; must be stated. Which.
  - `\"m3d\"`: Min-max.
  - `{ ct = .. }`, table: HU.
- `recipe.ct.crop`: `true` or `false`; default `true`. Cut.
- `seed`: whole number, 0 or more; must be stated. Seed.

";
        assert_eq!(found, expected);
    }
}
