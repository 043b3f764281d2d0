//! Rows of JSON: a list of objects, or objects one after the other, as in JSON lines.

use std::fmt;

use med2e3_schemas::config::nearest;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Unread, listed, quoted};

/// One row.
pub struct Object {
    /// Where it stands, in words.
    pub place: String,
    fields: Map<String, Value>,
}

/// The rows in order.
///
/// # Errors
/// The first row that is damaged, with the line and column where it is.
pub fn objects(text: &str) -> Result<Vec<Object>, Unread> {
    let mut rows = Vec::new();
    let read = if text.trim_start().starts_with('[') {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_seq(Rows(&mut rows)).and_then(|()| deserializer.end())
    } else {
        let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
        objects.try_for_each(|object| object.map(|object| rows.push(object)))
    };
    if let Err(error) = read {
        return Err(Unread::new(format!("a JSON object as row {}", rows.len() + 1), error.to_string()));
    }
    let place = |(number, fields)| Object { place: format!("row {}", number + 1), fields };
    Ok(rows.into_iter().enumerate().map(place).collect())
}

/// The elements of a list, kept also where a later one is damaged.
struct Rows<'r>(&'r mut Vec<Map<String, Value>>);

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(row) = list.next_element()? {
            self.0.push(row);
        }
        Ok(())
    }
}

impl Object {
    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// The value of a key that must be there.
    ///
    /// # Errors
    /// It is not; the nearest key that is.
    pub fn value(&self, key: &str) -> Result<&Value, Unread> {
        self.fields.get(key).ok_or_else(|| {
            let (keys, place) = (self.fields.keys().map(String::as_str), &self.place);
            let like = nearest(key, keys.clone()).map(|like| format!("; did you mean {}?", quoted(like)));
            Unread::new(format!("a key `{key}` in {place}"), listed(keys) + &like.unwrap_or_default())
        })
    }

    /// The text of a key that must be there: a number or a truth value as it is written, nothing for `null`.
    ///
    /// # Errors
    /// It is not there, or holds a list or an object.
    pub fn text(&self, key: &str) -> Result<Option<String>, Unread> {
        match self.value(key)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(Some(value.to_string())),
            other => Err(Unread::new(format!("a text in key `{key}` of {}", self.place), quoted(&other.to_string()))),
        }
    }

    /// The objects in a list that must be there.
    ///
    /// # Errors
    /// It is not, or holds something else.
    pub fn list(&self, key: &str) -> Result<Vec<Object>, Unread> {
        let object = |(number, value): (usize, &Value)| {
            let place = format!("row {} of `{key}`", number + 1);
            value.as_object().map(|fields| Object { place, fields: fields.clone() })
        };
        let list = self.value(key)?.as_array().and_then(|list| list.iter().enumerate().map(object).collect());
        list.ok_or_else(|| Unread::new(format!("a list of objects in `{key}` of {}", self.place), "something else"))
    }

    /// The prediction of a key that must be there.
    ///
    /// # Errors
    /// As [`Object::text`].
    pub fn answer(&self, key: &str) -> Result<Option<String>, Unread> {
        Ok(self.text(key)?.filter(|text| !text.trim().is_empty()))
    }

    /// The id of a row that must have one.
    ///
    /// # Errors
    /// As [`Object::text`]; `null` or nothing in it.
    pub fn id(&self, key: &str) -> Result<String, Unread> {
        let id = self.text(key)?.filter(|id| !id.trim().is_empty());
        id.ok_or_else(|| Unread::new(format!("an id in key `{key}` of {}", self.place), "none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_lines_are_rows() {
        for text in ["[{\"a\": 1},\n {\"a\": null}]", "{\"a\": 1}\n{\"a\": null}\r\n", " \n{\"a\":1}{\"a\":null}"] {
            let rows = objects(text).unwrap();
            assert_eq!([rows[0].text("a"), rows[1].text("a")], [Ok(Some("1".into())), Ok(None)]);
            assert_eq!((rows.len(), rows[1].place.as_str()), (2, "row 2"));
        }
        assert!(objects("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text: &str| objects(text).err().unwrap().to_string();
        let cut = "[{\"id\": \"a\"}, {\"id\": \"b";
        let found = "expected a JSON object as row 2, found EOF while parsing a string at line 1 column 23";
        assert_eq!(said(cut), found);
        assert!(said("{\"a\": 1}\n{\"a\":").starts_with("expected a JSON object as row 2, found EOF"));
        // As Python writes what is no number.
        assert!(said("[{\"a\": NaN}]").starts_with("expected a JSON object as row 1, found expected value"));
        assert!(said("[[1]]").contains("row 1, found invalid type: sequence"));
        let row = &objects("{\"output\": [1], \"id\": \"\"}").unwrap()[0];
        let expected = "expected a key `outputs` in row 1, found `id`, `output`; did you mean `output`?";
        assert_eq!(row.text("outputs").unwrap_err().to_string(), expected);
        assert_eq!(
            row.text("output").unwrap_err().to_string(),
            "expected a text in key `output` of row 1, found `[1]`"
        );
        assert_eq!(row.id("id").unwrap_err().to_string(), "expected an id in key `id` of row 1, found none");
    }
}
