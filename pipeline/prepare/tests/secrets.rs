//! The key of withheld names: it can't be printed, and a plan that travels does not carry it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use med2e3_prepare::config::PrepareConfig;
use med2e3_prepare::progress::RowProgress;
use med2e3_prepare::run::{RecipeHashes, RunFolder, thread_pool};
use med2e3_prepare::work::WorkSpec;
use med2e3_program::WorkPart;
use med2e3_schemas::config::parse;
use med2e3_schemas::manifest::{ManifestVolume, Refusal, volumes_to_batch};
use med2e3_schemas::quarantine::{Reason, Table};

fn config(root: &Path) -> PrepareConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/prepare/m3d.toml");
    let overrides = [format!("root={:?}", root.display().to_string()), "provenance={paths=\"hash\"}".to_owned()];
    let overrides =
        [&overrides[..], &["manifest={folders=[\"\"]}".to_owned(), "text.tokenizer={train=300}".to_owned()]].concat();
    parse("m3d.toml", &fs::read_to_string(path).unwrap(), &overrides).unwrap()
}

#[test]
fn nothing_that_holds_the_key_shows_it() {
    let above = tempfile::tempdir().unwrap();
    let (root, out) = (above.path().join("root"), above.path().join("dataset"));
    fs::create_dir(&root).unwrap();
    let config = config(&root);
    let folder = RunFolder::claim(&out, &config, WorkPart::WHOLE).unwrap();
    let hex = fs::read_to_string(above.path().join("dataset.provenance/key")).unwrap();
    let key = blake3::Hash::from_hex(&hex).unwrap();
    let decimal = format!("{:?}", key.as_bytes());
    let hashes = RecipeHashes::of(&config, &folder, None).unwrap();
    let spec = folder.work_spec(Table::Volumes, &config, hashes.of_table(Table::Volumes));
    let shown = [
        format!("{folder:?} {folder:#?}"),
        format!("{:?} {:#?}", folder.provenance, folder.provenance),
        format!("{hashes:?} {}", hashes.joined()),
        format!("{spec:?}"),
        serde_json::to_string(&spec).unwrap(),
        toml::to_string(&spec).unwrap(),
    ];
    assert!(shown[0].contains("NameKey(withheld)"), "{}", shown[0]);
    for text in &shown {
        assert!(!text.contains(hex.trim()) && !text.contains(decimal.trim_matches(['[', ']'])), "{text}");
        // Nor a part of it.
        assert!(!text.contains(&hex[..12]), "{text}");
    }
}

#[test]
fn a_plan_that_travelled_makes_the_same_shard() {
    let above = tempfile::tempdir().unwrap();
    let (root, out) = (above.path().join("root"), above.path().join("dataset"));
    fs::create_dir(&root).unwrap();
    let config = config(&root);
    let folder = RunFolder::claim(&out, &config, WorkPart::WHOLE).unwrap();
    let spec = folder.work_spec(Table::Volumes, &config, "recipe");
    let travelled: WorkSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(travelled, spec);
    let refused = ManifestVolume {
        volume_id: folder.provenance.volume_id("Doe"),
        image: "Doe".into(),
        source_path: String::new(),
        case_id: "Doe".into(),
        series: "Doe".into(),
        row: "Doe".into(),
        note: None,
        refusal: Some(Refusal { reason: Reason::NotFound, detail: "Doe".into() }),
    };
    let batch = volumes_to_batch(0, 0, std::slice::from_ref(&refused));
    let threads = Arc::new(thread_pool(1).unwrap());
    let commit = |spec: &WorkSpec| {
        let work = spec.open(threads.clone(), Arc::new(RowProgress::hidden())).unwrap();
        work.commit(0, std::slice::from_ref(&batch)).unwrap()
    };
    let (here, there) = (commit(&spec), commit(&travelled));
    assert_eq!(here, there);
    // The other side read the key from the working folder: the name is withheld in the same way.
    assert!(!serde_json::to_string(&there).unwrap().contains("Doe"));
}
