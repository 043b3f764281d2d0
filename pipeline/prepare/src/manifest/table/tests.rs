//! Tables of one's own in every format, and what becomes of their rows.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use med2e3_schemas::manifest::ManifestText;
use med2e3_shards::{PageLayout, ShardWriter};

use super::super::{Manifest, read as read_manifest};
use super::*;
use crate::config::{ManifestConfig, TextRules};
use crate::provenance::Provenance;

/// A data root with volumes that are known by their names alone.
struct Data(tempfile::TempDir);

impl Data {
    fn new(volumes: &[&str]) -> Data {
        let data = Data(tempfile::tempdir().unwrap());
        volumes.iter().for_each(|volume| data.write(volume, b""));
        data
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.0.path()).unwrap()
    }

    /// Reads tables that are stated as in a configuration; `folders` too.
    fn read(&self, manifest: &str) -> Result<Manifest, PrepareError> {
        let config: ManifestConfig = toml::from_str(manifest).unwrap();
        read_manifest(&self.root(), &config, &TextRules::default(), &Provenance::Keep)
    }

    fn error(&self, manifest: &str) -> String {
        self.read(manifest).unwrap_err().to_string()
    }
}

fn said(text: &ManifestText) -> (&str, &str, &str) {
    (text.images[0].as_str(), text.question.as_str(), text.answer.as_str())
}

fn reasons(manifest: &Manifest) -> Vec<(String, &'static str)> {
    let refused = manifest.texts.iter().filter_map(|text| Some((text, text.refusal.as_ref()?)));
    refused.map(|(text, refusal)| (text.row.clone(), refusal.reason.as_str())).collect()
}

const TABLE: &str = "[[table]]\npath = \"t.csv\"\n";

#[test]
fn every_format_gives_the_same_texts() {
    let data = Data::new(&["a/ct.nii", "b/ct.nii.gz"]);
    let rows =
        [("a/ct.nii", "Größe 3 mm, \"stabil\"; kein Erguss.\nZweite Zeile.", "7"), ("b/ct.nii.gz", "肝脏正常。", "8")];
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let csv = |separator: &str| {
        let line = |fields: [&str; 3]| fields.map(quoted).join(separator) + "\r\n";
        let rows = rows.iter().map(|(volume, text, number)| line([volume, text, number]));
        std::iter::once(line(["Datei", "Befund", "Nr"])).chain(rows).collect::<String>()
    };
    let objects: Vec<_> = rows
        .iter()
        .map(|(volume, text, number)| serde_json::json!({"Datei": volume, "Befund": text, "Nr": number.parse::<u8>().unwrap()}))
        .collect();
    data.write("t.csv", csv(",").as_bytes());
    data.write("semicolons.csv", csv(";").as_bytes());
    data.write("t.tsv", csv("\t").as_bytes());
    data.write("bars.txt", csv("|").as_bytes());
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(csv(";").encode_utf16().flat_map(u16::to_le_bytes)).collect();
    data.write("utf16.csv", &utf16);
    data.write("marked.csv", format!("\u{feff}{}", csv(";")).as_bytes());
    data.write("gbk.csv", &encoding_rs::GB18030.encode(&csv(";")).0);
    data.write("t.json", serde_json::to_string(&objects).unwrap().as_bytes());
    data.write("t.jsonl", objects.iter().map(|row| format!("{row}\n")).collect::<String>().as_bytes());
    let columns: [(&str, ArrayRef); 3] = [
        ("Datei", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))),
        ("Befund", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
        ("Nr", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2.parse().unwrap())))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = data.root().join("t.parquet");
    let mut writer = ShardWriter::create(&path, batch.schema(), PageLayout::Table).unwrap();
    writer.write(&batch).unwrap();
    writer.commit("t.parquet", &[]).unwrap();
    for (name, encoding, names) in [
        ("t.csv", "", ["t.csv:2", "t.csv:4"]),
        ("semicolons.csv", "", ["semicolons.csv:2", "semicolons.csv:4"]),
        ("t.tsv", "", ["t.tsv:2", "t.tsv:4"]),
        ("bars.txt", "", ["bars.txt:2", "bars.txt:4"]),
        ("utf16.csv", "", ["utf16.csv:2", "utf16.csv:4"]),
        ("marked.csv", "", ["marked.csv:2", "marked.csv:4"]),
        ("gbk.csv", "encoding = \"gb18030\"", ["gbk.csv:2", "gbk.csv:4"]),
        ("t.json", "", ["t.json[0]", "t.json[1]"]),
        ("t.jsonl", "", ["t.jsonl:1", "t.jsonl:2"]),
        ("t.parquet", "", ["t.parquet[0]", "t.parquet[1]"]),
    ] {
        let columns = "columns = { volume = \"Datei\", report = \"Befund\", id = \"Nr\" }";
        let manifest = data.read(&format!("[[table]]\npath = \"{name}\"\n{columns}\n{encoding}\n")).unwrap();
        let found: Vec<_> = manifest.texts.iter().map(|text| (said(text).0, said(text).2)).collect();
        assert_eq!(found, rows.map(|(volume, text, _)| (volume, text)), "{name}");
        let ids = [7, 8];
        let expected: Vec<_> = names.iter().zip(ids).map(|(name, id)| format!("{name} (id {id})")).collect();
        assert_eq!(manifest.texts.iter().map(|text| text.row.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(manifest.volumes.len(), 2);
    }
}

#[test]
fn western_bytes_are_read_by_their_encoding_and_named_without_it() {
    let data = Data::new(&["ct.nii"]);
    data.write("t.csv", b"volume;report\nct.nii;L\xe4sion \x80\n");
    let read = |encoding: &str| data.read(&format!("{TABLE}{encoding}\n")).unwrap();
    for name in ["windows-1252", "latin1", "Latin-1", "iso_8859-1"] {
        assert_eq!(said(&read(&format!("encoding = {name:?}")).texts[0]).2, "Läsion €", "{name}");
    }
    let manifest = read("");
    let refusal = manifest.texts[0].refusal.as_ref().unwrap();
    assert!(refusal.detail.contains("`encoding`, such as \"windows-1252\""), "{}", refusal.detail);
    assert!(data.error(&format!("{TABLE}encoding = \"latin\"\n")).contains("`latin`; known are utf-8"));
}

#[test]
fn volumes_are_named_by_paths_folders_names_and_cases() {
    let data = Data::new(&["p1/a/ct.nii", "p1/b/ct.nii.gz", "p2/x.nii", "p3/x.nii", "p4/only.nii"]);
    let root = data.root();
    let table = format!(
        "volume,case,report\np1/a/ct,,one\np1,,both\n{}/p2/x.nii,,absolute\nonly.nii,,by name\nonly,,by stem\nx.nii,,ambiguous\n\
        ,P9,by case\np2/x.nii,P9,\n../x.nii,,outside\np7/x.nii,,absent\n",
        root.display()
    );
    data.write("t.csv", table.as_bytes());
    let manifest = data.read(&format!("folders = [\"\"]\n{TABLE}")).unwrap();
    let found: Vec<_> =
        manifest.texts.iter().filter(|text| text.refusal.is_none()).map(|text| (said(text).0, said(text).2)).collect();
    let expected = [
        ("p1/a/ct.nii", "one"),
        ("p1/a/ct.nii", "both"),
        ("p1/b/ct.nii.gz", "both"),
        ("p2/x.nii", "absolute"),
        ("p4/only.nii", "by name"),
        ("p4/only.nii", "by stem"),
        ("p2/x.nii", "by case"),
    ];
    assert_eq!(found, expected);
    let refused = [("t.csv:7", "bad_row"), ("t.csv:10", "path_outside_root"), ("t.csv:11", "no_volume")];
    assert_eq!(reasons(&manifest), refused.map(|(row, reason)| (row.to_owned(), reason)));
    // Nothing is there twice, and what is not there is no volume.
    assert_eq!(manifest.volumes.len(), 5);
    assert_eq!((manifest.counts.rows_without_text, manifest.counts.volumes_without_text), (1, 1));
    let case = |image: &str| manifest.volumes.iter().find(|volume| volume.image == image).unwrap().case_id.clone();
    assert_eq!(case("p2/x.nii"), "P9");
}

#[test]
fn tables_are_joined_by_the_case() {
    let data = Data::new(&["a.nii", "b.nii", "c.nii"]);
    data.write("cases.csv", b"file,patient\na.nii,P1\nb.nii,P1\nc.nii,P2\n");
    data.write("t.csv", b"patient;frage;antwort\nP1;Which side?;Left\nP3;Which side?;Right\n");
    let manifest = data.read(&format!("{TABLE}[[table]]\npath = \"cases.csv\"\n")).unwrap();
    let found: Vec<_> = manifest.texts.iter().map(|text| (said(text), text.case_id.as_str())).collect();
    let expected = [("a.nii", "P1"), ("b.nii", "P1"), ("", "")].map(|(image, case)| (image, case));
    assert_eq!(found.iter().map(|((image, ..), case)| (*image, *case)).collect::<Vec<_>>(), expected);
    assert_eq!(reasons(&manifest), [("t.csv:3".to_owned(), "no_volume")]);
    assert_eq!(manifest.counts.cases.get("table"), Some(&2));
    // One volume, two cases.
    data.write("cases.csv", b"file,patient\na.nii,P1\na.nii,P2\n");
    let manifest = data.read("[[table]]\npath = \"cases.csv\"\n").unwrap();
    assert_eq!(manifest.volumes.len(), 1);
    assert!(manifest.texts.is_empty() || reasons(&manifest)[0].1 == "bad_row");
}

#[test]
fn questions_have_choices_in_every_form() {
    let data = Data::new(&["ct.nii"]);
    let columns = "columns = { volume = \"v\", question = \"q\", answer = \"a\", choices = \"c\", answer_choice = \"l\", topic = \"t\" }";
    data.write(
        "t.jsonl",
        br#"{"v": "ct.nii", "q": "Plane?", "c": ["Axial", "Coronal"], "a": "coronal", "t": 1}
{"v": "ct.nii", "q": "Contrast?", "c": "yes|no", "l": "(a)", "t": "phase"}
{"v": "ct.nii", "q": "Organ?", "c": "[\"Liver\", \"Spleen\", \"Kidney\"]", "l": "C", "a": "Kidney"}
{"v": "ct.nii", "q": "Where?", "a": "Left lobe"}
{"v": "ct.nii", "q": "Plane?", "c": ["Axial", "Coronal"], "a": "Sagittal"}
{"v": "ct.nii", "q": "Plane?", "c": ["Axial", "Coronal"], "l": "A", "a": "Coronal"}
{"v": "ct.nii", "q": "Plane?", "c": ["Axial"], "l": "A"}
{"v": "ct.nii", "q": "Plane?", "c": ["Axial", "Coronal"], "l": "C"}
{"v": "ct.nii", "q": "Plane?", "a": "Axial", "t": "texture"}
{"v": "ct.nii", "q": "Plane?"}
{"v": "ct.nii", "q": {"deep": 1}, "a": "x"}
"#,
    );
    let manifest = data.read(&format!("[[table]]\npath = \"t.jsonl\"\n{columns}\n")).unwrap();
    let sound: Vec<_> = manifest.texts.iter().filter(|text| text.refusal.is_none()).collect();
    let found: Vec<_> = sound.iter().map(|text| (said(text).1, said(text).2)).collect();
    let expected = [
        ("Plane? Choices: A. Axial B. Coronal", "B. Coronal"),
        ("Contrast? Choices: A. yes B. no", "A. yes"),
        ("Organ? Choices: A. Liver B. Spleen C. Kidney", "C. Kidney"),
        ("Where?", "Left lobe"),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        sound.iter().map(|text| text.topic).collect::<Vec<_>>(),
        [Some(Topic::Plane), Some(Topic::Phase), None, None]
    );
    assert_eq!(sound[0].answer_choice.as_deref(), Some("B"));
    let refused: Vec<_> = reasons(&manifest).into_iter().map(|(_, reason)| reason).collect();
    let (answer, row) = ("missing_answer", "bad_row");
    assert_eq!(refused, [answer, row, row, answer, row, answer, row]);
    // Choices in columns of their own, and in a list of parquet.
    data.write("t.csv", b"v,q,l,c1,c2,c3\nct.nii,Plane?,B,Axial,Coronal,\n");
    let columns =
        "columns = { volume = \"v\", question = \"q\", answer_choice = \"l\", choices = [\"c1\", \"c2\", \"c3\"] }";
    let text = data.read(&format!("{TABLE}{columns}\n")).unwrap().texts.remove(0);
    assert_eq!(said(&text).1, "Plane? Choices: A. Axial B. Coronal");
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("Axial"), Some("Coronal")]);
    let columns: [(&str, ArrayRef); 4] = [
        ("volume", Arc::new(StringArray::from_iter_values(["ct.nii"]))),
        ("question", Arc::new(StringArray::from_iter_values(["Plane?"]))),
        ("choices", Arc::new(lists.finish())),
        ("answer", Arc::new(StringArray::from_iter_values(["Axial"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ShardWriter::create(&data.root().join("t.parquet"), batch.schema(), PageLayout::Table).unwrap();
    writer.write(&batch).unwrap();
    writer.commit("t.parquet", &[]).unwrap();
    let text = data.read("[[table]]\npath = \"t.parquet\"\n").unwrap().texts.remove(0);
    assert_eq!(said(&text).2, "A. Axial");
}

#[test]
fn a_caption_and_a_question_of_one_row_are_two_texts() {
    let data = Data::new(&["images/ct.nii"]);
    data.write("t.csv", b"file,report,question,answer,split\nct.nii,Normal.,Side?,Left,VAL\n");
    let manifest = data.read(&format!("{TABLE}base = \"images\"\nsplit = \"test\"\n")).unwrap();
    let found: Vec<_> = manifest.texts.iter().map(|text| (text.task, text.split, text.answer.as_str())).collect();
    let (caption, open) = (Task::Caption, Task::OpenVqa);
    assert_eq!(found, [(caption, Split::Validation, "Normal."), (open, Split::Validation, "Left")]);
    assert!(!manifest.texts[0].question.is_empty());
}

#[test]
fn a_damaged_row_costs_only_itself() {
    let data = Data::new(&["p/1.nii", "p/2.nii", "p/3.nii", "p/4.nii"]);
    data.write(
        "t.csv",
        b"volume,report\np/1.nii,\"open\np/2.nii,two\np/3.nii,\"x\" y\np/4.nii,zero \0 byte\nvolume,report\n",
    );
    let manifest = data.read(TABLE).unwrap();
    let sound: Vec<_> = manifest.texts.iter().filter(|text| text.refusal.is_none()).map(|text| said(text).2).collect();
    assert_eq!(sound, ["two"]);
    let rows: Vec<_> = reasons(&manifest).into_iter().map(|(row, _)| row).collect();
    assert_eq!(rows, ["t.csv:2", "t.csv:4", "t.csv:5", "t.csv:6"]);
}

#[test]
fn what_is_wrong_with_a_whole_table_is_said() {
    let data = Data::new(&["ct.nii"]);
    data.write("t.csv", b"Datei,Befund,Text\nct.nii,x,y\n");
    let error = data.error(&format!("{TABLE}columns = {{ volume = \"Date\", report = \"Befund\" }}\n"));
    assert!(
        error.contains("a column `Date` (columns.volume), found Datei, Befund, Text\nhint: did you mean `Datei`?"),
        "{error}"
    );
    let error = data.error(&format!("{TABLE}columns = {{ report = \"Befund\" }}\n"));
    assert!(error.contains("expected columns.volume, series, accession or case, found none"), "{error}");
    let error = data.error(&format!("{TABLE}columns = {{ volume = \"Datei\", answer = \"Text\" }}\n"));
    assert!(error.contains("expected columns.question beside columns.answer, found none"), "{error}");
    let error = data.error(&format!("{TABLE}columns = {{ volume = \"Befund\", report = \"Text\" }}\n"));
    assert!(
        error.contains("rows that name volumes which are there, found none; the first: t.csv:2")
            && error.contains("`base`"),
        "{error}"
    );
    let error = data.error("[[table]]\npath = \"ct.nii\"\n");
    assert!(error.contains("or a stated `format`, found `.nii`"), "{error}");
    data.write("u.csv", b"number,words\n1,x\n");
    let error = data.error("[[table]]\npath = \"u.csv\"\n");
    assert!(error.contains("found number, words\nhint: `columns` says"), "{error}");
    let error = data.error(&format!("{TABLE}delimiter = \"\\\"\"\n"));
    assert!(error.contains("`delimiter`"), "{error}");
}
