//! Manifests of each kind, read from files that the tests write.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::config::{ConversationFile, QuestionFile};

/// A data root with two series and one manifest file.
struct Study(tempfile::TempDir);

impl Study {
    fn new(name: &str, text: &str) -> Study {
        let folder = tempfile::tempdir().unwrap();
        for series in ["Axial", "Coronal"] {
            fs::create_dir_all(folder.path().join("M3D_Cap/ct_case/000001").join(series)).unwrap();
        }
        fs::write(folder.path().join(name), text).unwrap();
        Study(folder)
    }

    fn read(&self, config: &ManifestConfig) -> Manifest {
        let root = fs::canonicalize(self.0.path()).unwrap();
        read(&root, config, &CaptionPrompts::default(), &Provenance::Keep).unwrap()
    }
}

fn nothing() -> ManifestConfig {
    ManifestConfig {
        captions: Vec::new(),
        questions: Vec::new(),
        yes_no: Vec::new(),
        conversations: Vec::new(),
        nan_as_pandas: false,
        ..ManifestConfig::default()
    }
}

const AXIAL: &str = "M3D_Cap_npy/ct_case/000001/Axial.npy";

fn csv(lines: &[&str]) -> Study {
    let header =
        "Unnamed: 0,Image Path,Text,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice";
    let lines = lines.iter().map(|line| format!("0,{AXIAL},t,{line}"));
    Study::new("a.csv", &[header.to_owned()].into_iter().chain(lines).collect::<Vec<_>>().join("\n"))
}

fn both(nan_as_pandas: bool) -> ManifestConfig {
    ManifestConfig {
        questions: vec![QuestionFile { path: "a.csv".into(), split: Split::Test }],
        nan_as_pandas,
        ..nothing()
    }
}

#[test]
fn missing_cells_become_nan_where_pandas_is_asked_for() {
    let study = csv(&["4,Free fluid?,Yes,No,NA,,No,B", "4,Which?,None, NA ,a,b,None,A", "4,Why?,a,b,c,d,,"]);
    let plain = study.read(&both(false)).texts;
    assert_eq!(plain[1].question, "Free fluid? Choices: A. Yes B. No C. NA D. ");
    assert_eq!((plain[2].answer.as_str(), plain[3].answer.as_str()), ("None", "A. None"));
    assert_eq!(plain[4].refusal.as_ref().map(|refusal| refusal.reason), Some(Reason::MissingAnswer));

    let pandas = study.read(&both(true)).texts;
    assert_eq!(pandas[1].question, "Free fluid? Choices: A. Yes B. No C. nan D. nan");
    assert_eq!(pandas[1].choices.as_ref().unwrap()[2..], ["nan", "nan"]);
    // A cell with spaces is no missing cell.
    assert_eq!(pandas[3].question, "Which? Choices: A. nan B. NA C. a D. b");
    assert_eq!((pandas[2].answer.as_str(), pandas[3].answer.as_str()), ("nan", "A. nan"));
    // A missing answer is the text `nan`, a missing letter is still none.
    assert_eq!((pandas[4].answer.as_str(), &pandas[4].refusal), ("nan", &None));
    assert_eq!(pandas[5].refusal.as_ref().map(|refusal| refusal.reason), Some(Reason::MissingAnswer));
}

#[test]
fn yes_no_files_are_open_questions_of_the_training_split() {
    let study = csv(&["4,Free fluid?,Yes,No,NA,NA,No,B", "5,On the left?,Yes,No,,,Yes,A"]);
    let texts = study.read(&ManifestConfig { yes_no: vec!["a.csv".into()], ..nothing() }).texts;
    let rows: Vec<_> =
        texts.iter().map(|t| (t.task, t.split, t.topic, t.question.as_str(), t.answer.as_str())).collect();
    assert_eq!(
        rows,
        [
            (Task::OpenVqa, Split::Train, Some(Topic::Abnormality), "Free fluid?", "No"),
            (Task::OpenVqa, Split::Train, Some(Topic::Location), "On the left?", "Yes"),
        ]
    );
    assert!(texts.iter().all(|text| text.choices.is_none() && text.turns.is_none()));
}

fn conversations(entries: Value) -> Manifest {
    let study = Study::new("a.json", &entries.to_string());
    let folder = Some("M3D_Cap_npy/".to_owned());
    let file = ConversationFile { path: "a.json".into(), split: Split::Train, folder, task: None };
    study.read(&ManifestConfig { conversations: vec![file], ..nothing() })
}

fn entry(volumes: &[&str], said: &[&str]) -> Value {
    let from = ["human", "gpt"].into_iter().cycle();
    let turns: Vec<Value> = from.zip(said).map(|(from, value)| json!({"from": from, "value": value})).collect();
    let paths: Vec<String> = volumes.iter().map(|name| format!("ct_case/000001/{name}.npy")).collect();
    json!({"id": "a name", "conversations": turns, "vision3d": paths})
}

fn with(mut entry: Value, more: Value) -> Value {
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

#[test]
fn conversations_have_any_number_of_volumes_and_turns() {
    let closed = "<image3d>\nWhich plane? Choices: A. Axial B. Coronal C. nan D. nan";
    let manifest = conversations(json!([
        entry(&["Axial"], &["<image3d>\nWhich organ?", "Liver"]),
        with(entry(&["Axial"], &[closed, "B. Coronal"]), json!({"question_type": 1})),
        with(
            entry(&["Axial", "Coronal"], &["<image3d>\nFirst.", "Yes.", "And <image3d>?", "No.", "Sure?"]),
            json!({"answer": "Sure.", "question": "Compare."}),
        ),
        with(entry(&["Coronal"], &["<image3d>", "A normal scan."]), json!({"vision2d": [], "question_type": 0})),
    ]));
    let texts = &manifest.texts;
    assert!(texts.iter().all(|text| text.refusal.is_none() && !text.duplicate), "{texts:?}");
    assert_eq!(manifest.volumes.iter().map(|v| v.series.as_str()).collect::<Vec<_>>(), ["Axial", "Coronal"]);
    assert!(manifest.volumes.iter().all(|volume| volume.refusal.is_none()));

    let [open, lettered, compared, caption] = texts.as_slice() else { panic!("{} rows", texts.len()) };
    assert_eq!((open.task, open.question.as_str(), open.answer.as_str()), (Task::OpenVqa, "Which organ?", "Liver"));
    assert_eq!((&open.images, &open.turns, open.case_id.as_str()), (&vec![AXIAL.to_owned()], &None, "000001"));

    assert_eq!((lettered.task, lettered.topic), (Task::ClosedVqa, Some(Topic::Plane)));
    assert_eq!(lettered.answer_choice.as_deref(), Some("B"));
    assert_eq!(lettered.choices.as_ref().unwrap()[..], ["Axial", "Coronal", "nan", "nan"]);

    let turns = compared.turns.as_ref().unwrap();
    assert_eq!((turns.len(), turns[1].question.as_str(), turns[2].answer.as_str()), (3, "And <image3d>?", "Sure."));
    assert_eq!((compared.question.as_str(), compared.answer.as_str()), ("Compare.", "Yes."));
    assert_eq!(compared.volume_ids, [AXIAL, &AXIAL.replace("Axial", "Coronal")].map(Id::of_volume));

    assert_eq!((caption.task, caption.topic), (Task::Caption, None));
    assert!(CaptionPrompts::default().as_slice().contains(&caption.question));
    assert_eq!(caption.turns.as_ref().unwrap()[0].question, "<image3d>");
}

#[test]
fn a_conversation_that_says_what_a_csv_says_is_its_duplicate() {
    let study = csv(&["3,Which organ?,a,b,c,d,Liver,A"]);
    let text = json!([entry(&["Axial"], &["<image3d>\nWhich organ?", "Liver"])]).to_string();
    fs::write(study.0.path().join("a.json"), text).unwrap();
    let file = ConversationFile {
        path: "a.json".into(),
        split: Split::Test,
        folder: Some("M3D_Cap_npy".into()),
        task: Some(Task::OpenVqa),
    };
    let texts = study.read(&ManifestConfig { conversations: vec![file], ..both(false) }).texts;
    assert_eq!(texts.iter().map(|text| text.duplicate).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(texts[0].sample_id, texts[2].sample_id);
}

#[test]
fn conversations_that_can_not_be_used_say_why_without_saying_who() {
    let turn = json!({"from": "human", "value": "<image3d>\nJane Roe?"});
    let cases = [
        (entry(&["Axial", "Coronal"], &["<image3d>\nJane Roe?", "a"]), Reason::BadRow),
        (entry(&["Axial"], &["<image3d><image3d>\nJane Roe?", "a"]), Reason::BadRow),
        (entry(&["Axial"], &["<image3d><image>\nJane Roe?", "a"]), Reason::UnsupportedImage2d),
        (entry(&["Axial"], &["<image3d>\nJane Roe?", "a <image>"]), Reason::UnsupportedImage2d),
        (
            with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"vision2d": ["Jane Roe.png"]})),
            Reason::UnsupportedImage2d,
        ),
        (entry(&["Axial"], &["<image3d>\nJane Roe?", "<image3d>"]), Reason::BadRow),
        (entry(&["Axial"], &["<image3d>\nJane Roe?", " "]), Reason::MissingAnswer),
        (entry(&["Axial"], &["<image3d>\nJane Roe?"]), Reason::MissingAnswer),
        (entry(&["Axial"], &[]), Reason::BadRow),
        (entry(&[], &["Jane Roe?", "a"]), Reason::MissingImage),
        (json!({"conversations": [turn, turn], "vision3d": ["Jane Roe"]}), Reason::BadRow),
        (json!({"conversations": [{"from": "system", "value": "Jane Roe"}]}), Reason::BadRow),
        (json!({"conversations": [{"from": "human", "value": ["Jane Roe"]}]}), Reason::BadRow),
        (json!({"conversations": "Jane Roe", "vision3d": []}), Reason::BadRow),
        (with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"vision3d": "Jane Roe"})), Reason::BadRow),
        (with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"vision3d": [{"Jane": "Roe"}]})), Reason::BadRow),
        (with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"question": {"Jane": "Roe"}})), Reason::BadRow),
        (with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"question_type": 11})), Reason::BadRow),
        (with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"question_type": "Jane Roe"})), Reason::BadRow),
        (with(entry(&["Axial"], &["<image3d>\nb", "a"]), json!({"answer_choice": "Jane Roe"})), Reason::MissingAnswer),
        (with(entry(&["Axial"], &["<image3d>", "C"]), json!({"answer_choice": "C"})), Reason::BadRow),
        (json!("Jane Roe"), Reason::BadRow),
        (json!(null), Reason::BadRow),
    ];
    let manifest = conversations(cases.iter().map(|(entry, _)| entry.clone()).collect());
    assert_eq!(manifest.texts.len(), cases.len());
    for (text, (entry, reason)) in manifest.texts.iter().zip(&cases) {
        let refusal = text.refusal.as_ref();
        assert_eq!(refusal.map(|refusal| refusal.reason), Some(*reason), "{entry}");
        assert!(refusal.is_none_or(|refusal| !refusal.detail.contains("Jane")), "{refusal:?}");
        assert!(!text.row.contains("name"), "{}", text.row);
    }
}

#[test]
fn volume_paths_of_conversations_stay_within_the_root() {
    let mut climbing = entry(&["Axial"], &["<image3d>\nb", "a"]);
    climbing["vision3d"] = json!(["../../outside.npy"]);
    let manifest = conversations(json!([climbing]));
    assert_eq!(manifest.volumes[0].refusal.as_ref().map(|r| r.reason), Some(Reason::PathOutsideRoot));
}

#[test]
fn a_file_that_is_no_list_is_no_manifest() {
    for text in ["{\"Jane\": []}", "[{\"conversations\": [", "[] []", "", "\"Jane\""] {
        let study = Study::new("a.json", text);
        let file = ConversationFile { path: "a.json".into(), split: Split::Train, folder: None, task: None };
        let config = ManifestConfig { conversations: vec![file], ..nothing() };
        let error =
            read(study.0.path(), &config, &CaptionPrompts::default(), &Provenance::Keep).unwrap_err().to_string();
        assert!(error.contains("a.json: expected a JSON list") && !error.contains("Jane"), "{error}");
    }
}
