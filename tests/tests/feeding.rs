//! The feed in Python, on datasets that the program prepared.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_tests::phantom::{gzip, nifti};
use med2e3_tests::program::run_to;
use med2e3_tests::python::python;
use med2e3_tests::study::prepare;

/// No more than the volumes of `pipeline/feed/tests/golden/order.py`.
const VOLUMES: usize = 11;
const SHAPE: [usize; 3] = [4, 16, 16];

/// CTs of the shape that they are prepared to, with captions and questions of different lengths.
fn study(root: &Path) {
    let mut rows =
        vec!["Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice".to_owned()];
    let mut captions = Vec::new();
    for number in 0..VOLUMES {
        let name = format!("ct_case/{number:06}/Series_{number}");
        let case = root.join(format!("M3D_Cap/ct_case/{number:06}"));
        fs::create_dir_all(&case).unwrap();
        let voxels: Vec<i16> = (0..1024).map(|n| ((n * 37 + number * 11) % 2001) as i16 - 1000).collect();
        fs::write(case.join(format!("Series_{number}.nii.gz")), gzip(&nifti(SHAPE, &voxels))).unwrap();
        fs::write(case.join("text.txt"), format!("findings:{}", " a lesion".repeat(1 + number % 4))).unwrap();
        captions.push(format!(
            r#"{{"image": "M3D_Cap_npy/{name}.npy", "text": "M3D_Cap_npy/ct_case/{number:06}/text.txt"}}"#
        ));
        for question in 0..1 + number % 3 {
            let words = "very ".repeat(question);
            rows.push(format!(
                "M3D_Cap_npy/{name}.npy,1.0,Which {words}plane is {number}?,axial,coronal,sagittal,none,{words}axial,A"
            ));
        }
    }
    fs::write(root.join("own.csv"), rows.join("\n")).unwrap();
    let captions = captions.join(",");
    fs::write(root.join("M3D_Cap.json"), format!(r#"{{"train": [{captions}], "validation": [], "test": []}}"#))
        .unwrap();
}

fn prepared(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let questions = r#"manifest.questions=[{path="own.csv",split="train"}]"#;
    run_to(0, &mut prepare(&folder.join("study"), &out, &[&[questions], more].concat()));
    out
}

#[test]
fn python_is_fed_what_the_dataset_holds() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    study(&folder.join("study"));
    let units = "volume.recipe={ct={intensity=\"none\",crop=\"none\"}}";
    let datasets = [
        prepared(folder, "u8", &["volume.codec=\"zstd1\""]),
        prepared(folder, "i16", &[units, "volume.voxels=\"i16\"", "volume.codec=\"lz4\""]),
        prepared(folder, "f32", &[units, "volume.voxels=\"f32\"", "volume.codec=\"none\""]),
    ];
    let said = run_to(0, python().arg("python/feed/tests/test_feed.py").args(&datasets));
    assert!(said.err.contains("OK"), "{}", said.err);
}
