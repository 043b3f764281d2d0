//! Manifests of each kind, read from files that the tests write.

use std::fs;

use serde_json::{Value, json};

use super::*;
use med2e3_input::text::CaptionPrompts;

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
        read(&root, config, &TextRules::default(), &Provenance::Keep).unwrap()
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
        let error = read(study.0.path(), &config, &TextRules::default(), &Provenance::Keep).unwrap_err().to_string();
        assert!(error.contains("a.json: expected a JSON list") && !error.contains("Jane"), "{error}");
    }
}

#[test]
fn question_types_are_whole_numbers_however_they_are_written() {
    let types = ["1", " 1 ", "1.0", "1.00", "1.", "5.0", "1.5", "0", "6", "", "one", "1.0.0", "-1", "1e0"];
    let lines = types.map(|number| format!("{number},Which {number}?,a,b,c,d,Liver,A"));
    let texts = csv(&lines.each_ref().map(String::as_str)).read(&both(false)).texts;
    let found: Vec<_> = texts.iter().step_by(2).map(|text| text.refusal.is_none().then_some(text.topic)).collect();
    let mut expected = vec![Some(Some(Topic::Plane)); 5];
    expected.push(Some(Some(Topic::Location)));
    expected.resize(types.len(), None);
    assert_eq!(found, expected);

    let numbers = [json!(1), json!(1.0), json!("1"), json!(" 1.0 "), json!(1.5), json!(11), json!("x"), json!(-1)];
    let said = ["<image3d>\nWhich organ?", "Liver"];
    let entries = numbers.iter().map(|number| with(entry(&["Axial"], &said), json!({"question_type": number})));
    let texts = conversations(entries.collect()).texts;
    let topics: Vec<_> = texts.iter().map(|text| text.refusal.is_none().then_some(text.topic)).collect();
    assert_eq!(topics[..4], vec![Some(Some(Topic::Plane)); 4]);
    assert_eq!(topics[4..], vec![None; 4]);
}

#[test]
fn rows_that_are_none_are_set_aside_by_their_line() {
    let good = "1,Which?,a,b,c,d,Liver,A";
    let study =
        csv(&[good, "1,\"Which?,a,b,c,d,Liver,A", "2,W\0hich?,a,b,c,d,Liver,A", "3,\"Two\nlines?\",a,b,c,d,Liver,A"]);
    let path = study.0.path().join("a.csv");
    let text = fs::read_to_string(&path).unwrap();
    let header = text.lines().next().unwrap().to_owned();
    fs::write(
        &path,
        format!("\u{feff}{text}\n\n{header}\n0,{AXIAL},t,4,\"\u{feff}Why?\",a,b,\u{feff}c,d,\u{feff}Liver,B\n"),
    )
    .unwrap();
    let texts = study.read(&both(false)).texts;
    let rows: Vec<_> = texts.iter().step_by(2).map(|text| (text.row.as_str(), text.refusal.is_none())).collect();
    let expected = [2, 3, 4, 5, 8, 9].map(|line| (format!("a.csv:{line}"), [2, 5, 9].contains(&line)));
    assert!(rows.iter().copied().eq(expected.iter().map(|(row, sound)| (row.as_str(), *sound))), "{rows:?}");
    let said = |n: usize| texts[2 * n].refusal.as_ref().unwrap().detail.as_str();
    assert!(said(1).contains("quote") && said(2).contains("zero byte") && said(4).contains("header again"));
    let last = &texts[11];
    assert_eq!((last.question.as_str(), last.answer.as_str()), ("Why? Choices: A. a B. b C. c D. d", "B. Liver"));
    assert_eq!(texts[6].question, "Two\nlines?");
}

#[test]
fn a_closed_row_whose_answer_is_another_choices_text_is_set_aside() {
    let study = csv(&[
        "3,Which?,Liver,Spleen,NA,NA,spleen ,A",
        "3,Where?,Liver,Spleen,NA,NA,Spleen,B",
        "3,What?,Liver,Spleen,NA,NA,Both of them,A",
        "3,Who?,Liver,liver,NA,NA,Liver,B",
    ]);
    let texts = study.read(&both(false)).texts;
    let refused: Vec<_> =
        texts.iter().map(|text| text.refusal.as_ref().map(|refusal| refusal.detail.as_str())).collect();
    assert_eq!(refused.iter().filter(|refusal| refusal.is_some()).count(), 1, "{refused:?}");
    // The open question of that row stands: its answer is a text of its own.
    let said = refused[1].unwrap();
    assert!(said.contains("choice A (`Liver`)") && said.contains("choice B"), "{said}");
}

#[test]
fn a_table_of_another_kind_is_refused_with_what_it_is() {
    let header = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice";
    let utf16: Vec<u8> = header.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, said) in [
        (header.replace(',', ";").into_bytes(), "`;` separates"),
        (header.replace(',', "\t").into_bytes(), "tabs separate"),
        (header.replace("Answer,", "Reply,").into_bytes(), "no column `Answer`"),
        (header.replace("Question,", "\"Question,").into_bytes(), "quote"),
        (utf16, "UTF-16"),
        (Vec::new(), "empty"),
    ] {
        let study = csv(&[]);
        fs::write(study.0.path().join("a.csv"), bytes).unwrap();
        let error = read(study.0.path(), &both(false), &TextRules::default(), &Provenance::Keep).unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

#[test]
fn choices_that_hold_letters_are_taken_apart_by_the_answer() {
    let parts = [
        "liver",
        "vitamin B. deficiency",
        "hepatitis C. virus",
        "vitamin D. deficiency",
        "B. fragilis",
        "C. difficile",
        "E. coli",
        "none",
    ];
    let mut cases = Vec::new();
    for n in 0..parts.len().pow(4) {
        let choices: [&str; 4] = std::array::from_fn(|place| parts[n / parts.len().pow(place as u32) % parts.len()]);
        let places = (0..4).filter(|place| (n + place) % 7 == 0);
        cases.extend(places.map(|place| (choices, place)));
    }
    let entries = cases.iter().map(|(choices, place)| {
        let question = med2e3_input::text::prompt::closed_question("<image3d>\nWhich?", choices);
        entry(&["Axial"], &[&question, &format!("{}. {}", ["A", "B", "C", "D"][*place], choices[*place])])
    });
    let texts = conversations(entries.collect()).texts;
    let mut whole = 0;
    for (text, (choices, place)) in texts.iter().zip(cases) {
        let found = text.choices.as_ref().unwrap();
        assert_eq!(found[place], choices[place], "{}", text.question);
        // What is plain besides the answer's choice can't be cut elsewhere.
        let plain = |other: &usize| !["B. ", "C. ", "D. "].iter().any(|mark| choices[*other].contains(mark));
        if (0..4).filter(|other| *other != place).all(|other| plain(&other)) {
            assert_eq!(found, &choices, "{}", text.question);
            whole += 1;
        }
    }
    assert!(whole > 50, "{whole}");
    // An answer that is none of the choices: the last marks count, so that a letter within choice A cuts nothing.
    let question = "<image3d>\nWhich? Choices: A. vitamin B. and C. too B. b C. c D. d";
    let found = conversations(json!([entry(&["Axial"], &[question, "C. other"])])).texts.remove(0).choices.unwrap();
    assert_eq!(found, ["vitamin B. and C. too", "b", "c", "d"]);
    let without = conversations(json!([with(
        entry(&["Axial"], &["<image3d>\nWhich? Choices: A. a C. c B. b", "A. a"]),
        json!({"answer_choice": "A"})
    )]));
    assert_eq!(without.texts[0].choices, None);
}

#[test]
fn damaged_rows_of_conversations_and_captions_cost_only_themselves() {
    let folder = Some("M3D_Cap_npy/".to_owned());
    let conversations = |name: &str, text: &[u8]| {
        let study = Study::new(name, "");
        fs::write(study.0.path().join(name), text).unwrap();
        let file = ConversationFile { path: name.into(), split: Split::Train, folder: folder.clone(), task: None };
        study.read(&ManifestConfig { conversations: vec![file], ..nothing() }).texts
    };
    let line = |n: usize| entry(&["Axial"], &[&format!("<image3d>\nWhich {n}?"), "Liver"]).to_string();
    let bad = line(1).replace("Liver", "\\ud83d Liver");
    let list = conversations("a.json", format!("\u{feff}[{},{bad},{}]", line(0), line(2)).as_bytes());
    assert_eq!(list.iter().map(|text| text.row.as_str()).collect::<Vec<_>>(), ["a.json[0]", "a.json[1]", "a.json[2]"]);
    assert_eq!(list.iter().map(|text| text.refusal.is_none()).collect::<Vec<_>>(), [true, false, true]);
    assert!(list[1].refusal.as_ref().unwrap().detail.contains("surrogate"));
    assert_eq!(list[1].images, [AXIAL]);
    let lines = conversations("a.jsonl", format!("{}\n\n{}\n{}\n", line(0), &line(1)[1..], line(2)).as_bytes());
    assert_eq!(lines.iter().map(|text| text.row.as_str()).collect::<Vec<_>>(), ["a.jsonl:1", "a.jsonl:3", "a.jsonl:4"]);
    let marked = conversations(
        "a.json",
        format!(
            "[{}]",
            line(0)
                .replace("<image3d>", "\u{feff}<image3d>")
                .replace("Liver", "\u{feff}Liver")
                .replace("ct_case", "\u{feff}ct_case")
        )
        .as_bytes(),
    );
    assert_eq!(
        (marked[0].question.as_str(), marked[0].answer.as_str(), &marked[0].images[0]),
        ("Which 0?", "Liver", &AXIAL.to_owned())
    );

    let study = Study::new("a.json", "");
    let report = study.0.path().join("M3D_Cap/ct_case/000001/text.txt");
    let caption =
        |more: &str| format!("{{\"image\": \"{AXIAL}\", \"text\": \"M3D_Cap_npy/ct_case/000001/text.txt\"{more}}}");
    let text = format!(
        "\u{feff}{{\"train\": [{}, {{\"image\": \"x\\udc00\", \"text\": \"t\"}}, {{\"image\": 1}}], \"val\": [{}, {}], \"test1k\": [{}]}}",
        caption(", \"age\": NaN"),
        &caption("")[..30],
        caption(""),
        caption("")
    );
    fs::write(study.0.path().join("a.json"), text).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&report, bytes).unwrap();
        study.read(&ManifestConfig { captions: vec!["a.json".into()], ..nothing() })
    };
    let manifest = read("\u{feff}study_findings: Normal liver.".as_bytes());
    let rows: Vec<_> =
        manifest.texts.iter().map(|text| (text.row.as_str(), text.split, text.refusal.is_none())).collect();
    assert_eq!(
        rows,
        [
            ("a.json train[0]", Split::Train, true),
            ("a.json train[1]", Split::Train, false),
            ("a.json train[2]", Split::Train, false),
            ("a.json val[0]", Split::Validation, false),
            ("a.json val[1]", Split::Validation, true),
            ("a.json test1k[0]", Split::Test, true),
        ]
    );
    assert_eq!(manifest.texts[0].answer, "Normal liver.");
    assert_eq!(manifest.parts.keys().collect::<Vec<_>>(), ["test1k"]);
    let utf16: Vec<u8> = "\u{feff}Normal".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, said) in [(utf16.as_slice(), "UTF-16"), (b"Normal L\xe9sion", "byte 8")] {
        let text = read(bytes).texts.remove(0);
        let Refusal { reason, detail } = text.refusal.unwrap();
        assert!(reason == Reason::TextUnreadable && detail.contains(said), "{detail}");
    }
}

#[test]
fn texts_beyond_their_limit_are_set_aside_by_name() {
    let limits = ManifestLimits { field_kib: 1, json_mib: 1 };
    let (most, long) = (1 << 10, "x".repeat(1100));
    let reasons = |manifest: &Manifest| -> Vec<Option<Reason>> {
        manifest.texts.iter().map(|text| text.refusal.as_ref().map(|refusal| refusal.reason)).collect()
    };
    let large = Some(Reason::TooLarge);
    let row = |question: &str, choice: &str| format!("1,{question},{choice},b,c,d,b,B");
    let halves = "y".repeat(600);
    let study = csv(&[&row("Which?", "a"), &row(&long, "a"), &row(&halves, &halves), &row("What?", "a")]);
    let table = study.read(&ManifestConfig { limits, ..both(false) });
    // A question that is too long with its choices is one without them.
    assert_eq!(reasons(&table), [None, None, large, large, None, large, None, None]);
    assert!(table.texts[2].refusal.as_ref().unwrap().detail.contains("`Question` of more than 1024 bytes"));
    assert!(table.texts.iter().all(|text| text.question.len() <= most && text.answer.len() <= most));

    let file = ConversationFile {
        path: "a.json".into(),
        split: Split::Train,
        folder: Some("M3D_Cap_npy/".into()),
        task: None,
    };
    let turns = |answer: &str| entry(&["Axial"], &["<image3d>\nWhich?", answer, "Why?", answer]);
    let rows = json!([turns("Liver"), turns(&long), turns(&halves), turns("Spleen")]);
    let conversations = Study::new("a.json", &rows.to_string()).read(&ManifestConfig {
        conversations: vec![file.clone()],
        limits,
        ..nothing()
    });
    assert_eq!(reasons(&conversations), [None, large, large, None]);
    assert!(conversations.texts[1].refusal.as_ref().unwrap().detail.contains("`conversations`"));

    let study = Study::new("a.json", "");
    fs::write(study.0.path().join("long.txt"), &long).unwrap();
    fs::write(study.0.path().join("short.txt"), "Normal liver.").unwrap();
    let caption = |text: &str| json!({"image": AXIAL, "text": text});
    let list = json!({"train": [caption("long.txt"), caption("short.txt"), caption(&long)]});
    fs::write(study.0.path().join("a.json"), list.to_string()).unwrap();
    let captions = study.read(&ManifestConfig { captions: vec!["a.json".into()], limits, ..nothing() });
    assert_eq!(reasons(&captions), [large, None, large]);
    assert!(captions.texts[0].refusal.as_ref().unwrap().detail.contains("at most 1024 decoded bytes, found 1100"));

    // A file that is read as a whole has a limit of its own.
    fs::write(study.0.path().join("a.json"), vec![b' '; (1 << 20) + 1]).unwrap();
    let root = fs::canonicalize(study.0.path()).unwrap();
    for config in [
        ManifestConfig { captions: vec!["a.json".into()], limits, ..nothing() },
        ManifestConfig { conversations: vec![file], limits, ..nothing() },
    ] {
        let error = read(&root, &config, &TextRules::default(), &Provenance::Keep).unwrap_err().to_string();
        assert!(error.contains("at most 1048576 bytes (manifest.limits.json_mib)"), "{error}");
    }
}

#[test]
fn llavas_rows_are_conversations_about_volumes() {
    let turn = |from: &str, value: &str| json!({"from": from, "value": value});
    let row = |image: Value, turns: &[&str]| {
        let turns = turns.iter().enumerate().map(|(n, text)| turn(["human", "gpt"][n % 2], text));
        json!({"id": "x", "image": image, "conversations": turns.collect::<Vec<_>>()})
    };
    let rows = [
        row(json!(AXIAL), &["<image>\nWhich plane?", "Axial"]),
        row(json!(AXIAL), &["Which organ?\n<image>", "Liver"]),
        row(json!(AXIAL), &["Which side?", "Left"]),
        row(json!([AXIAL, AXIAL.replace("Axial", "Coronal")]), &["<image> and <image>: same?", "Yes", "Sure?", "Yes"]),
        row(json!(AXIAL), &["<image><image>?", "Yes"]),
        row(json!(7), &["<image>?", "Yes"]),
    ];
    let study = Study::new("talk.json", &serde_json::to_string(&rows).unwrap());
    let file = ConversationFile { path: "talk.json".into(), split: Split::Train, folder: None, task: None };
    let texts = study.read(&ManifestConfig { conversations: vec![file], ..nothing() }).texts;
    // One instruction about one volume is a pair like others.
    let plain: Vec<_> = texts[..3].iter().map(|text| (text.question.as_str(), text.turns.is_none())).collect();
    assert_eq!(plain, [("Which plane?", true), ("Which organ?", true), ("Which side?", true)]);
    assert_eq!(texts[3].turns.as_ref().unwrap()[0].question, "<image3d> and <image3d>: same?");
    assert_eq!(texts[3].volume_ids.len(), 2);
    let refused: Vec<_> = texts.iter().filter_map(|text| text.refusal.as_ref()).map(|refusal| refusal.reason).collect();
    assert_eq!(refused, [Reason::BadRow, Reason::BadRow]);
    assert!(texts[5].refusal.as_ref().unwrap().detail.contains("`image`"));
}
