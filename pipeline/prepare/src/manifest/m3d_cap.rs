//! M3D_Cap.json: an object from split names to lists of `{image, text}`; `text` is the path of a report. What becomes of a
//! damaged row: `json_rows`.

use std::error::Error;
use std::path::Path;

use med2e3_input::reading;
use med2e3_input::text::encoding;
use med2e3_input::text::findings::read_findings;
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;
use med2e3_schemas::sample::{Split, Task};
use serde_json::Value;

use super::json_rows::{self, JsonRow, RowValue};
use super::{Builder, Row, read_whole};
use crate::PrepareError;

struct Entry {
    image: Option<String>,
    text: Option<String>,
    refusal: Option<Refusal>,
}

/// What the names of splits and of their parts begin with.
const SPLITS: [&str; 4] = ["train", "val", "dev", "test"];

/// Adds a caption row for each entry. Parts such as `test1k` become named parts of their split.
pub(super) fn read(path: &Path, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let bytes = read_whole(path, &builder.limits)?;
    let most = builder.limits.field_bytes();
    let error = |found: String| PrepareError::Manifest {
        path: path.to_owned(),
        expected: "an object from split names to lists of {image, text}".into(),
        found,
    };
    let text = encoding::without_mark(&bytes).map_err(|found| error(found.to_owned()))?;
    let mut lists = json_rows::lists(text, &SPLITS, &["image", "text"], most).map_err(error)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Whole splits first, so that a part's rows are the duplicates.
    lists.sort_by_key(|(split, _)| (split.parse::<Split>().is_err(), split.clone()));
    for (part, entries) in lists {
        let word = SPLITS.iter().find(|word| part.starts_with(**word));
        let split = word.and_then(|word| word.parse().ok()).unwrap_or(Split::Train);
        for JsonRow { number, value, .. } in entries {
            let entry = entry(value);
            if let Some(text) = entry.text.as_deref().filter(|text| is_inside(text)) {
                for path in candidates(text) {
                    builder.source(builder.root.join(path));
                }
            }
            let id = builder.add(row(builder, entry, split, format!("{name} {part}[{number}]")));
            if part.parse::<Split>().ok() != Some(split) {
                builder.manifest.parts.entry(part.clone()).or_default().extend(id);
            }
        }
    }
    Ok(())
}

/// The paths of a row that is sound enough to have them.
fn entry(row: Result<RowValue, String>) -> Entry {
    let refused = |image, reason, detail| Entry { image, text: None, refusal: Some(Refusal { reason, detail }) };
    let unusable = |image, detail| refused(image, Reason::BadRow, detail);
    let RowValue { value, damaged } = match row {
        Ok(row) => row,
        Err(detail) => return unusable(None, detail),
    };
    if let Some((key, damage)) = damaged.iter().find(|(_, damage)| damage.reason() == Reason::TooLarge) {
        return refused(None, Reason::TooLarge, format!("expected a path in `{key}`, found {damage}"));
    }
    // A path that begins with a byte-order mark is the path after it.
    let path = |key: &str| match value.get(key) {
        _ if damaged.contains_key(key) => Err(format!("expected a path in `{key}`, found {}", damaged[key])),
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) => Ok(Some(path.trim_start_matches(encoding::BYTE_ORDER_MARK).to_owned())),
        Some(_) => Err(format!("expected {{image, text}} with paths, found something else in `{key}`")),
    };
    let image = path("image");
    match (image.clone(), path("text")) {
        _ if !value.is_object() => unusable(None, "expected {image, text} with paths, found something else".into()),
        (Ok(image), Ok(text)) => Entry { image, text, refusal: None },
        (Err(detail), _) | (_, Err(detail)) => unusable(image.ok().flatten(), detail),
    }
}

fn row(builder: &Builder<'_>, entry: Entry, split: Split, row: String) -> Row {
    let Entry { image, text, refusal } = entry;
    let image = image.unwrap_or_default();
    let report = match (refusal, text.as_deref()) {
        (Some(refusal), _) => Err(refusal),
        (None, None | Some("")) => {
            Err(Refusal { reason: Reason::MissingAnswer, detail: "expected a text path, found none".into() })
        }
        (None, Some(text)) => report(builder.root, text, builder.limits.field_bytes()),
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
        question: builder.prompts.pick(image.as_bytes()).to_owned(),
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
fn report(root: &Path, text: &str, most: usize) -> Result<String, Refusal> {
    let outside = || Refusal {
        reason: Reason::PathOutsideRoot,
        detail: format!("expected a path within the data root, found {text}"),
    };
    if !is_inside(text) {
        return Err(outside());
    }
    let [_, raw] = candidates(text);
    let path = candidates(text).into_iter().map(|path| root.join(path)).find(|path| reading::is_file(path));
    let path = path.ok_or_else(|| Refusal {
        reason: Reason::TextUnreadable,
        detail: format!("expected a report at {raw}, found none"),
    })?;
    if !reading::canonicalize(&path).is_ok_and(|real| real.starts_with(root)) {
        return Err(outside());
    }
    let findings = read_findings(&path, most as u64).map_err(|error| {
        let reason = error.reason();
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        let error = error.to_string().replace(&format!("{}/", root.display()), "");
        Refusal { reason, detail: format!("{raw}: {error}{cause}") }
    })?;
    if findings.is_empty() {
        return Err(Refusal { reason: Reason::MissingAnswer, detail: format!("{raw}: the report is empty") });
    }
    Ok(findings)
}
