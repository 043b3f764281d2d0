//! Whether a JSON value is as a JSON schema says: the words of draft 2020-12 that derived schemas use. Any other word is an
//! error, so that no rule of a schema is passed over.

use serde_json::Value;

/// What a schema may say that decides nothing.
const NOTES: [&str; 6] = ["$schema", "title", "description", "default", "$defs", "format"];

/// The first way in which a value is not as a schema says; none where it is.
pub fn violation(root: &Value, value: &Value) -> Option<String> {
    check(root, root, value, "").err()
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |message: String| Err(format!("{}: {message}", if at.is_empty() { "the file" } else { at }));
    let Value::Object(rules) = schema else {
        return if *schema == Value::Bool(true) { Ok(()) } else { fail("nothing is allowed here".into()) };
    };
    for (word, rule) in rules {
        match word.as_str() {
            "$ref" => {
                let path = rule.as_str().unwrap_or_default().trim_start_matches('#');
                let target =
                    root.pointer(path).ok_or_else(|| format!("the schema refers to {path}, which it lacks"))?;
                check(root, target, value, at)?;
            }
            "type" => {
                let is = match rule.as_str().unwrap_or_default() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    other => return fail(format!("the type {other} is not known")),
                };
                if !is {
                    return fail(format!("expected {rule}, found {value}"));
                }
            }
            "const" if rule != value => return fail(format!("expected {rule}, found {value}")),
            "enum" if !rule.as_array().is_some_and(|known| known.contains(value)) => {
                return fail(format!("expected one of {rule}, found {value}"));
            }
            "oneOf" | "anyOf" => {
                let choices = rule.as_array().map(Vec::as_slice).unwrap_or_default();
                let results: Vec<_> = choices.iter().map(|choice| check(root, choice, value, at)).collect();
                let fitting = results.iter().filter(|result| result.is_ok()).count();
                if fitting == 0 || (word == "oneOf" && fitting > 1) {
                    let reasons: Vec<_> = results.into_iter().filter_map(Result::err).collect();
                    return fail(format!("{fitting} choices fit {value}: {}", reasons.join("; ")));
                }
            }
            "minimum" if value.as_f64() < rule.as_f64() => return fail(format!("{value} is below {rule}")),
            "maximum" if value.as_f64() > rule.as_f64() => return fail(format!("{value} is above {rule}")),
            "exclusiveMinimum" if value.as_f64() <= rule.as_f64() => {
                return fail(format!("{value} is not above {rule}"));
            }
            "pattern" if !value.as_str().is_some_and(|text| is_numbered(rule, text)) => {
                return fail(format!("{value} does not match {rule}"));
            }
            "minLength"
                if value.as_str().is_some_and(|text| (text.chars().count() as u64) < rule.as_u64().unwrap_or(0)) =>
            {
                return fail(format!("expected {rule} characters or more"));
            }
            "maxLength"
                if value
                    .as_str()
                    .is_some_and(|text| text.chars().count() as u64 > rule.as_u64().unwrap_or(u64::MAX)) =>
            {
                return fail(format!("expected at most {rule} characters"));
            }
            "minItems" if value.as_array().is_some_and(|items| (items.len() as u64) < rule.as_u64().unwrap_or(0)) => {
                return fail(format!("expected {rule} items or more"));
            }
            "maxItems"
                if value.as_array().is_some_and(|items| items.len() as u64 > rule.as_u64().unwrap_or(u64::MAX)) =>
            {
                return fail(format!("expected at most {rule} items"));
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}[{number}]"))?;
                }
            }
            "required" if value.is_object() => {
                let mut needed = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                if let Some(key) = needed.find(|key| value.get(key).is_none()) {
                    return fail(format!("expected the key {key}"));
                }
            }
            "properties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(key) {
                        check(root, rule, inner, &format!("{at}.{key}"))?;
                    }
                }
            }
            "additionalProperties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if rules.get("properties").is_none_or(|known| known.get(key).is_none()) {
                        let at = format!("{at}.{key}");
                        check(root, rule, inner, &at).map_err(|_| format!("{at}: an unknown key, or another value"))?;
                    }
                }
            }
            "required" | "minLength" | "maxLength" | "const" | "enum" | "minimum" | "maximum" | "exclusiveMinimum"
            | "minItems" | "maxItems" | "pattern" => {}
            note if NOTES.contains(&note) => {}
            other => return fail(format!("the schema's word {other} is not known")),
        }
    }
    Ok(())
}

/// Whether a text is a word with a number behind it, the one kind of pattern that our schemas have: `^WORD[0-9]+$`.
fn is_numbered(pattern: &Value, text: &str) -> bool {
    let word = pattern.as_str().and_then(|pattern| pattern.strip_prefix('^')?.strip_suffix("[0-9]+$"));
    let number = word.and_then(|word| text.strip_prefix(word));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_out_of_a_schema_are_named() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["seed"],
            "properties": {
                "seed": {"type": "integer", "minimum": 1},
                "kind": {"oneOf": [{"const": "a"}, {"$ref": "#/$defs/B"}]},
                "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            },
            "$defs": {"B": {"type": "object", "required": ["b"], "properties": {"b": {"type": "number"}}}},
        });
        for value in [json!({"seed": 1}), json!({"seed": 2, "kind": {"b": 0.5}, "shape": [1, 2]})] {
            assert_eq!(violation(&schema, &value), None);
        }
        for (value, words) in [
            (json!({}), "the key seed"),
            (json!({"seed": 0}), ".seed: 0 is below 1"),
            (json!({"seed": 1.5}), "expected \"integer\""),
            (json!({"seed": 1, "sead": 1}), ".sead: an unknown key"),
            (json!({"seed": 1, "kind": "c"}), ".kind: 0 choices"),
            (json!({"seed": 1, "shape": [1]}), "2 items"),
        ] {
            let found = violation(&schema, &value).unwrap();
            assert!(found.contains(words), "{found}");
        }
        assert!(violation(&json!({"multipleOf": 2}), &json!(4)).unwrap().contains("multipleOf"));
        let numbered = json!({"pattern": "^cuda:[0-9]+$"});
        assert_eq!(violation(&numbered, &json!("cuda:12")), None);
        for other in ["cuda:", "cuda:x", "cuda", "a cuda:1"] {
            assert!(violation(&numbered, &json!(other)).is_some(), "{other}");
        }
    }
}
