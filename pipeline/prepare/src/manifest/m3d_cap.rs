//! M3D_Cap.json: an object from split names to lists of `{image, text}`; `text` is the path of a report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_input::text::CaptionPrompts;
use med2e3_input::text::findings::read_findings;
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task};
use serde::Deserialize;
use serde_json::Value;

use super::{Builder, Row};
use crate::PrepareError;

#[derive(Deserialize)]
struct Entry {
    image: Option<String>,
    text: Option<String>,
}

/// Adds a caption row for each entry. Parts such as `test1k` become named parts of their split.
pub(super) fn read(path: &Path, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let text = fs::read_to_string(path).map_err(PrepareError::file(path, "read"))?;
    let error = |found: String| PrepareError::Manifest {
        path: path.to_owned(),
        expected: "an object from split names to lists of {image, text}".into(),
        found,
    };
    let splits: BTreeMap<String, Vec<Value>> = serde_json::from_str(&text).map_err(|e| error(e.to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Whole splits first, so that a part's rows are the duplicates.
    let mut ordered: Vec<_> = splits.into_iter().collect();
    ordered.sort_by_key(|(split, _)| (split.parse::<Split>().is_err(), split.clone()));
    for (part, entries) in ordered {
        let Some(split) = Split::ALL.iter().copied().find(|split| part.starts_with(split.as_str())) else {
            return Err(error(format!("a split `{part}` that begins with none of train, validation, test")));
        };
        for (number, entry) in entries.into_iter().enumerate() {
            if let Some(text) = entry.get("text").and_then(Value::as_str).filter(|text| is_inside(text)) {
                for path in candidates(text) {
                    builder.source(builder.root.join(path));
                }
            }
            let id = builder.add(row(builder.root, builder.prompts, entry, split, format!("{name} {part}[{number}]")));
            if part != split.as_str() {
                builder.manifest.parts.entry(part.clone()).or_default().extend(id);
            }
        }
    }
    Ok(())
}

fn row(root: &Path, prompts: &CaptionPrompts, entry: Value, split: Split, row: String) -> Row {
    let image_alone = entry.get("image").and_then(Value::as_str).map(str::to_owned);
    let entry = serde_json::from_value::<Entry>(entry).map_err(|error| Refusal {
        reason: Reason::BadRow,
        detail: format!("expected {{image, text}} with paths, found something else: {error}"),
    });
    let (entry, malformed) = match entry {
        Ok(entry) => (entry, None),
        Err(refusal) => (Entry { image: image_alone, text: None }, Some(refusal)),
    };
    let image = entry.image.unwrap_or_default();
    let report = match entry.text.as_deref() {
        _ if malformed.is_some() => Err(malformed.expect("looked at just above")),
        None | Some("") => {
            Err(Refusal { reason: Reason::MissingAnswer, detail: "expected a text path, found none".into() })
        }
        Some(text) => report(root, text),
    };
    let (answer, refusal) = match report {
        Ok(answer) => (answer, None),
        Err(refusal) => (String::new(), Some(refusal)),
    };
    Row {
        row,
        task: Task::Caption,
        topic: None,
        split,
        question: prompts.pick(image.as_bytes()).to_owned(),
        answer,
        turns: None,
        choices: None,
        answer_choice: None,
        images: vec![image],
        refusal,
    }
}

fn is_inside(text: &str) -> bool {
    Path::new(text).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Where a report may be: at its own path, or under the raw folder.
fn candidates(text: &str) -> [String; 2] {
    [text.to_owned(), text.replacen("M3D_Cap_npy/", "M3D_Cap/", 1)]
}

/// The findings of a report, whose prepared path is looked for under the raw folder where it is not there.
fn report(root: &Path, text: &str) -> Result<String, Refusal> {
    let outside = || Refusal {
        reason: Reason::PathOutsideRoot,
        detail: format!("expected a path within the data root, found {text}"),
    };
    if !is_inside(text) {
        return Err(outside());
    }
    let [_, raw] = candidates(text);
    let path = candidates(text).into_iter().map(|path| root.join(path)).find(|path| path.is_file());
    let path = path.ok_or_else(|| Refusal {
        reason: Reason::TextUnreadable,
        detail: format!("expected a report at {raw}, found none"),
    })?;
    if !fs::canonicalize(&path).is_ok_and(|real| real.starts_with(root)) {
        return Err(outside());
    }
    let findings = read_findings(&path).map_err(|error| Refusal {
        reason: Reason::TextUnreadable,
        detail: format!("{raw}: {}", error.to_string().replace(&format!("{}/", root.display()), "")),
    })?;
    if findings.is_empty() {
        return Err(Refusal { reason: Reason::MissingAnswer, detail: format!("{raw}: the report is empty") });
    }
    Ok(findings)
}
