//! The manifest readers on arbitrary bytes: an error, or tables that name nothing outside the data root.

use std::fs;
use std::path::Path;

use med2e3_schemas::sample::Split;

use super::prepare::config::{ConversationFile, ManifestConfig, ManifestLimits, QuestionFile, TextRules};
use super::prepare::manifest;
use super::prepare::provenance::Provenance;

/// Reads the bytes as each kind of manifest, in a root with two series and a report.
pub fn manifest(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let root = fs::canonicalize(folder.path()).expect("the folder is there");
    let case = root.join("M3D_Cap/ct_case/000001");
    for series in ["Axial", "Coronal"] {
        fs::create_dir_all(case.join(series)).expect("a folder can be made");
    }
    fs::write(case.join("text.txt"), "study_findings: A disc.").expect("a file can be written");
    fs::write(root.join("rows"), bytes).expect("a file can be written");
    let rows = || "rows".into();
    let pandas = ManifestConfig { nan_as_pandas: true, ..ManifestConfig::default() };
    let conversations = ConversationFile { path: rows(), split: Split::Train, folder: None, task: None };
    let below = ConversationFile { folder: Some("M3D_Cap_npy/".into()), ..conversations.clone() };
    // So small that some inputs have texts beyond them.
    let limits = ManifestLimits { field_kib: 1, ..ManifestLimits::default() };
    let questions = vec![QuestionFile { path: rows(), split: Split::Test }];
    for config in [
        ManifestConfig { captions: vec![rows()], limits, ..ManifestConfig::default() },
        ManifestConfig { questions, limits, ..ManifestConfig::default() },
        ManifestConfig { conversations: vec![conversations.clone()], limits, ..ManifestConfig::default() },
        ManifestConfig { captions: vec![rows()], ..ManifestConfig::default() },
        ManifestConfig { questions: vec![QuestionFile { path: rows(), split: Split::Test }], ..pandas },
        ManifestConfig { yes_no: vec![rows()], ..ManifestConfig::default() },
        ManifestConfig { conversations: vec![conversations, below], ..ManifestConfig::default() },
    ] {
        read(&root, &config);
    }
}

fn read(root: &Path, config: &ManifestConfig) {
    let manifest = match manifest::read(root, config, &TextRules::default(), &Provenance::Keep) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for volume in manifest.volumes.iter().filter(|volume| volume.refusal.is_none()) {
        let real = fs::canonicalize(root.join(&volume.source_path)).expect("an accepted volume is there");
        assert!(real.starts_with(root), "{real:?}");
    }
    for text in &manifest.texts {
        assert_eq!(text.volume_ids.len(), text.images.len());
        match &text.refusal {
            Some(refusal) => assert!(!refusal.detail.is_empty() && !text.duplicate),
            None => {
                assert!(!text.images.is_empty() && !text.question.is_empty() && !text.answer.is_empty(), "{text:?}")
            }
        }
    }
}
