//! Shards that change while they are fed: an error of the batches that they concern, by file and row, and never another volume.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use med2e3_feed::{Feed, FeedPlan, OnBadSample, QuestionForm, TextForm};
use med2e3_schemas::sample::Task;

use super::dataset::open;
use super::write;

/// What a feed brings when `change` happens to its second shard of volumes behind the first batch: texts, those left out, errors.
fn fed(on_bad_sample: OnBadSample, change: impl Fn(&Path)) -> (usize, Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let (dataset, samples) = open(folder.path(), &[Task::Caption, Task::OpenVqa]);
    let plan = FeedPlan {
        epochs: 2,
        readers: 2,
        depth: 1,
        on_bad_sample,
        ..FeedPlan::one_pass(TextForm::Conversation, QuestionForm::Llm, 2)
    };
    let mut feed = Feed::start(dataset, samples, plan).unwrap();
    let (mut texts, mut bad, mut errors) = (0, Vec::new(), Vec::new());
    let mut number = 0;
    while let Some(batch) = feed.next_batch() {
        match batch {
            Ok(batch) => {
                for text in batch.texts() {
                    let place = text.volumes().next().unwrap();
                    assert!(batch.voxels[32 * place..][..32].iter().all(|code| i64::from(*code) == text.ids[2]));
                }
                texts += batch.len();
                bad.extend(
                    batch.bad.iter().map(|bad| format!("{} row {}: {}", bad.shard.display(), bad.row, bad.reason)),
                );
            }
            Err(error) => errors.push(error.to_string()),
        }
        if number == 0 {
            change(&folder.path().join("volumes/00001.parquet"));
        }
        number += 1;
    }
    assert_eq!(number, 20);
    (texts, bad, errors)
}

fn cut(path: &Path) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(40).unwrap();
}

/// In place: the same file, other bytes.
fn overwrite(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let bytes = file.metadata().unwrap().len() as usize;
    file.write_all_at(&vec![7; bytes], 0).unwrap();
}

#[test]
fn a_shard_that_is_cut_short_or_overwritten_fails_its_own_batches() {
    for change in [cut, overwrite] {
        let (texts, bad, errors) = fed(OnBadSample::Fail, change);
        assert!((2..40).contains(&texts) && bad.is_empty() && !errors.is_empty(), "{texts} {errors:?}");
        let told = |error: &String| error.contains("volumes/00001.parquet") && error.contains("row");
        assert!(errors.iter().all(told), "{errors:?}");

        let (texts, bad, errors) = fed(OnBadSample::Skip, change);
        assert_eq!((texts + bad.len(), errors), (40, vec![]));
        assert!(!bad.is_empty() && bad.iter().all(told), "{bad:?}");
    }
}

#[test]
fn a_shard_that_is_removed_or_replaced_is_read_on_or_named() {
    let remove: fn(&Path) = |path| fs::remove_file(path).unwrap();
    let replace: fn(&Path) = |path| {
        let other: PathBuf = path.with_extension("other");
        fs::write(&other, b"another file").unwrap();
        fs::rename(other, path).unwrap();
    };
    for change in [remove, replace] {
        let (texts, bad, errors) = fed(OnBadSample::Fail, change);
        let told = |error: &String| error.contains("volumes/00001.parquet");
        assert!(texts >= 2 && bad.is_empty() && errors.iter().all(told), "{errors:?}");
        assert!(texts == 40 || !errors.is_empty());
    }
}
