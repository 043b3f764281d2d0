//! What is wrong with a query, in words that say what to write instead.

use datafusion::common::SchemaError as PlanSchemaError;
use datafusion::error::DataFusionError;
use med2e3_schemas::config::nearest;

use super::sql::{TableColumns, plain_name};
use crate::PrepareError;

/// The engine's error about a query's plan, with the nearest name where one is unknown, and a hint where many stumble.
pub(super) fn explained(error: DataFusionError, query: &str, tables: &[TableColumns]) -> PrepareError {
    let root = error.find_root();
    if let DataFusionError::SchemaError(found, _) = root
        && let PlanSchemaError::FieldNotFound { field, valid_fields } = found.as_ref()
    {
        let known: Vec<&str> = valid_fields.iter().map(|field| field.name()).collect();
        return unknown("column", field.name(), &known, column_hint(query, field.name(), tables));
    }
    let problem = root.strip_backtrace();
    if let Some(name) = unknown_table(&problem) {
        let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        return unknown("table", name, &known, None);
    }
    match hint(query, &problem, tables) {
        Some(hint) => PrepareError::Query { problem: format!("{problem}\nhint: {hint}") },
        None => error.into(),
    }
}

fn unknown(what: &str, name: &str, known: &[&str], hint: Option<String>) -> PrepareError {
    let near = nearest(name, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let problem = format!("no {what} `{name}`{}\n{what}s: {known}{hint}", near.unwrap_or_default());
    PrepareError::Query { problem }
}

/// The table that the engine does not find, by its last name.
fn unknown_table(problem: &str) -> Option<&str> {
    let (_, rest) = problem.split_once("table '")?;
    let (name, _) = rest.split_once("' not found")?;
    name.rsplit('.').next()
}

/// A column that another table of the query has not, because its table was not joined; or a name with a hyphen.
fn column_hint(query: &str, name: &str, tables: &[TableColumns]) -> Option<String> {
    let holders = tables.iter().filter(|table| table.schema.column_with_name(name).is_some());
    let holders: Vec<&str> = holders.map(|table| table.name.as_str()).take(4).collect();
    if !holders.is_empty() {
        return Some(format!("`{name}` is a column of {}", holders.join(", ")));
    }
    hyphen_hint(query, tables)
}

/// Names with `-` are read as a subtraction.
fn hyphen_hint(query: &str, tables: &[TableColumns]) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let words = query.split(|c| !is_part(c)).filter(|word| word.contains('-'));
    let known = |plain: &String| {
        tables.iter().any(|table| table.name == *plain || table.schema.column_with_name(plain).is_some())
    };
    let mut meant = words.map(|word| (word, plain_name(word))).filter(|(_, plain)| known(plain));
    let (word, plain) = meant.next()?;
    Some(format!("`{word}` is written `{plain}` in a query: names have an underscore for every `-` and `.`"))
}

fn hint(query: &str, problem: &str, tables: &[TableColumns]) -> Option<String> {
    let compares = problem.contains("comparison operation");
    if compares && problem.contains("List(FixedSizeBinary(16)") {
        let example =
            "FROM (SELECT *, unnest(volume_ids) AS volume_id FROM samples) AS s JOIN volumes AS v USING (volume_id)";
        return Some(format!("volume_ids is a list: {example}"));
    }
    if compares && problem.contains("FixedSizeBinary") && problem.contains("Utf8") {
        return Some("an id is bytes: compare hex(volume_id) with '32 hex digits'".into());
    }
    if problem.contains("would be ambiguous") || problem.contains("duplicate qualified field name") {
        return Some("give a subquery a name: FROM (SELECT ..) AS s JOIN .. USING (..)".into());
    }
    hyphen_hint(query, tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    fn tables() -> Vec<TableColumns> {
        let schema = |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]));
        let table = |name: &str, column: &str| TableColumns { name: name.into(), rows: 0, schema: schema(column) };
        vec![table("volumes", "case_id"), table("subset_a_train", "sample_id")]
    }

    #[test]
    fn a_hyphen_in_a_name_is_explained() {
        let hint = |query: &str| hyphen_hint(query, &tables());
        assert!(hint("SELECT * FROM subset_a-train").unwrap().contains("`subset_a_train`"));
        assert!(hint("SELECT case-id FROM volumes").unwrap().contains("`case_id`"));
        assert_eq!(hint("SELECT 3-2 FROM volumes WHERE a-b > 1"), None);
    }

    #[test]
    fn an_unknown_table_is_told_with_the_nearest() {
        assert_eq!(unknown_table("Error during planning: table 'a.b.volums' not found"), Some("volums"));
        assert_eq!(unknown_table("table function 'x' not found"), None);
        let said = unknown("table", "volums", &["volumes", "samples"], None).to_string();
        assert!(said.contains("no table `volums`; did you mean `volumes`?") && said.contains("samples"), "{said}");
    }
}
