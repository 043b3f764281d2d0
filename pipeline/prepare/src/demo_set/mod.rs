//! A small set in M3D's layout, cut from a CT head atlas by real reslicing, with answers that are true by construction.
//!
//! Boxes of the atlas are resliced into series in three planes, at three levels, in three display windows. Every caption
//! and answer states how its series was cut, so nobody has to trust a label. A box and all series cut from it have one
//! split, and boxes of different splits are at least [`SPLIT_GAP_MM`] apart.

mod atlas;
mod cut;
mod words;
mod write;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_program::Progress;
use med2e3_schemas::report::DemoSetReport;
use med2e3_schemas::sample::Split;
use med2e3_store::put_whole;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::PrepareError;

use atlas::Atlas;
use cut::{Series, series_of_split};
use words::{Texts, csv_of};
use write::{Form, write_broken, write_series};

/// Least distance between boxes of different splits, in mm: no voxel of one is interpolated from another's.
pub const SPLIT_GAP_MM: f64 = 8.0;

/// Cuts the set from the atlas at `atlas` into `out`.
///
/// # Errors
/// An atlas that can't be read or is not the expected one, a folder that exists, a file that can't be written.
pub fn cut(atlas: &Path, out: &Path, seed: u64) -> Result<DemoSetReport, PrepareError> {
    if out.exists() {
        return Err(PrepareError::Output {
            path: out.to_owned(),
            problem: "exists".into(),
            hint: "give another --out, or remove the folder".into(),
        });
    }
    let head = Atlas::read(atlas)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut report = DemoSetReport {
        atlas: atlas.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        split_gap_mm: SPLIT_GAP_MM,
        boxes: BTreeMap::new(),
        series: BTreeMap::new(),
        forms: BTreeMap::new(),
        broken: Vec::new(),
    };
    let boxes: BTreeMap<Split, Vec<[Series; 3]>> =
        Split::ALL.iter().map(|&split| (split, series_of_split(&head, split, &mut rng))).collect();
    let progress = Progress::new(boxes.values().map(|boxes| 3 * boxes.len() as u64).sum(), 0, "series");
    let mut captions: BTreeMap<&str, Vec<BTreeMap<&str, String>>> = BTreeMap::new();
    let mut case = 0;
    for (split, boxes) in boxes {
        let mut texts = Texts::default();
        report.boxes.insert(split.to_string(), boxes.len() as u64);
        for (number, series) in boxes.iter().enumerate() {
            case += 1;
            for series in series {
                // Nine boxes in a row hold every level with every turn of the windows: forms change after them, so that
                // no plane, level or window has a form of its own to be known by.
                let form = Form::ALL[number / 9 % Form::ALL.len()];
                let path = path_of(case, series);
                write_series(&head, series, form, out, &path)?;
                write_report(out, &path, series)?;
                captions.entry(split.as_str()).or_default().push(caption_entry(&path));
                texts.add(&path, series);
                progress.add(1);
                *report.series.entry(split.to_string()).or_default() += 1;
                *report.forms.entry(form.as_str().into()).or_default() += 1;
            }
        }
        let path = out.join(format!("M3D_VQA_{}.csv", words::file_word(split)));
        put_whole(&path, &csv_of(&texts, &path)?)?;
    }
    progress.finish();
    // Two inputs that are broken on purpose: each must end in quarantine and harm nothing else.
    for (path, what) in write_broken(out, case + 1)? {
        write_text(out, &path, "This series can not be read.")?;
        captions.entry(Split::Train.as_str()).or_default().push(caption_entry(&path));
        report.broken.push(format!("{path}: {what}"));
    }
    let json = serde_json::to_vec_pretty(&captions).expect("a manifest is plain data");
    put_whole(&out.join("M3D_Cap.json"), &json)?;
    put_whole(&out.join("demo-set.json"), &serde_json::to_vec_pretty(&report).expect("a report is plain data"))?;
    Ok(report)
}

/// The set in one line.
pub fn summary(report: &DemoSetReport) -> String {
    let list = |counts: &BTreeMap<String, u64>| {
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{} series ({}) from {} boxes, as {}; {} inputs broken on purpose",
        report.series.values().sum::<u64>(),
        list(&report.series),
        report.boxes.values().sum::<u64>(),
        list(&report.forms),
        report.broken.len()
    )
}

/// Path of a series below `M3D_Cap`, without ending.
fn path_of(case: usize, series: &Series) -> String {
    let (plane, window) = (words::capitalized(series.plane.as_str()), series.window.name());
    format!("ct_case/{case:06}/{plane}_{window}_window")
}

fn caption_entry(path: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("image", format!("M3D_Cap_npy/{path}.npy")), ("text", format!("M3D_Cap_npy/{path}.txt"))])
}

fn write_report(out: &Path, path: &str, series: &Series) -> Result<(), PrepareError> {
    write_text(out, path, &words::caption(series))
}

fn write_text(out: &Path, path: &str, findings: &str) -> Result<(), PrepareError> {
    let path = out.join("M3D_Cap").join(format!("{path}.txt"));
    let folder = path.parent().expect("a series is in its case's folder");
    fs::create_dir_all(folder).map_err(PrepareError::file(folder, "create"))?;
    let text = format!("Title: CT of the head\n\nstudy_findings: {findings}\n");
    fs::write(&path, text).map_err(PrepareError::file(&path, "write"))
}
