//! Paths of manifests in trees that the tests make.

use std::fs;

use super::*;

/// A data root with the files and folders that are named; a name that ends with `/` is a folder with one slice.
fn root(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap().join("root");
    fs::create_dir_all(&root).unwrap();
    for name in names {
        let path = root.join(name);
        let file = if name.ends_with('/') { path.join("0.png") } else { path };
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, b"x").unwrap();
    }
    (folder, root)
}

#[test]
fn raw_series_are_found_beside_the_prepared_name() {
    let case = "M3D_Cap/ct_case/000001";
    let (_folder, root) = root(&[
        &format!("{case}/Axial/"),
        &format!("{case}/Axial_P\u{f6}schl_view/"),
        &format!("{case}/Coronal.nii.gz"),
    ]);
    let find =
        |name: &str| super::find(&root, &format!("M3D_Cap_npy/ct_case/000001/{name}.npy")).map(|found| found.path);
    assert_eq!(find("Axial").unwrap(), format!("{case}/Axial"));
    assert_eq!(find("Coronal").unwrap(), format!("{case}/Coronal.nii.gz"));
    assert_eq!(find("Axial_Poschl_view").unwrap(), format!("{case}/Axial_P\u{f6}schl_view"));
    assert_eq!(find("Sagittal").unwrap_err().reason, Reason::NotFound);
}

#[test]
fn a_prepared_array_is_read_where_its_raw_series_is_absent() {
    let prepared = "M3D_Cap_npy/ct_case/000001/Axial.npy";
    let (_folder, alone) = root(&[prepared]);
    assert_eq!(find(&alone, prepared).unwrap(), Found { path: prepared.into(), note: None });
    let (_folder, both) = root(&[prepared, "M3D_Cap/ct_case/000001/Axial/"]);
    assert_eq!(find(&both, prepared).unwrap(), Found { path: "M3D_Cap/ct_case/000001/Axial".into(), note: None });
}

#[test]
fn a_row_holds_the_file_that_it_names() {
    // Every non-empty subset of what can share a stem.
    let all = ["a/x/", "a/x.nii", "a/x.nii.gz", "a/x.npy", "a/x.mha"];
    for subset in 1..1 << all.len() {
        let names: Vec<&str> = (0..all.len()).filter(|n| subset >> n & 1 == 1).map(|n| all[n]).collect();
        let (_folder, root) = root(&names);
        for name in &names {
            let name = name.trim_end_matches('/');
            let found = find(&root, name).unwrap();
            assert_eq!(found.path, name, "{names:?}");
        }
        // Without an ending: a folder, then the endings in their order; where there are several a note says so.
        let found = find(&root, "a/x").unwrap();
        let order = ["a/x/", "a/x.nii.gz", "a/x.nii", "a/x.npy", "a/x.mha"];
        let first = order.into_iter().find(|name| names.contains(name)).unwrap();
        assert_eq!(found.path, first.trim_end_matches('/'), "{names:?}");
        let volumes = names.len() - usize::from(names.contains(&"a/x.mha") && !is_volume(&root.join("a/x.mha")));
        assert_eq!(found.note.is_some(), volumes > 1, "{names:?} {found:?}");
    }
}

#[test]
fn what_only_has_the_stem_is_not_taken() {
    let (_folder, root) = root(&["a/case1.nii.gz", "b/case2.npy"]);
    fs::write(root.join("a/case1"), b"a log of some program").unwrap();
    fs::create_dir(root.join("b/case2")).unwrap();
    assert_eq!(find(&root, "a/case1").unwrap().path, "a/case1.nii.gz");
    assert_eq!(find(&root, "b/case2").unwrap().path, "b/case2.npy");
}

#[test]
fn one_volume_has_one_spelling() {
    let (_folder, root) = root(&["a/b/x.nii", "w\\y.nii"]);
    for image in ["a/b/x.nii", "./a/b/x.nii", "a//b/x.nii", "a/./b/./x.nii", "a\\b\\x.nii", ".\\a\\b\\x.nii"] {
        assert_eq!(spelled(&root, image), "a/b/x.nii", "{image}");
    }
    // A name that holds a backslash is that name.
    assert_eq!(spelled(&root, "w\\y.nii"), "w\\y.nii");
    assert_eq!(find(&root, "w\\y.nii").unwrap().path, "w\\y.nii");
    assert_eq!(spelled(&root, "."), "");
}

#[test]
fn archives_that_are_not_unpacked_are_named() {
    let (_folder, root) = root(&["M3D_Cap/ct_case/part_1.zip", "M3D_Cap/ct_case/part_2.zip"]);
    let refusal = find(&root, "M3D_Cap_npy/ct_case/000001/Axial.npy").unwrap_err();
    assert!(refusal.detail.contains("2 archives") && refusal.detail.contains("part_1.zip"), "{}", refusal.detail);
}

#[test]
fn no_path_leads_out_of_the_root() {
    let (folder, root) = root(&[]);
    fs::write(folder.path().join("secret.nii"), b"x").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret.nii"), root.join("link.nii")).unwrap();
    for image in ["../secret.nii", "a/../../secret.nii", "/etc/passwd", "a\\..\\b", "link.nii", "C:\\data\\x.nii"] {
        assert_eq!(find(&root, &spelled(&root, image)).unwrap_err().reason, Reason::PathOutsideRoot, "{image}");
    }
}

#[test]
fn names_are_the_last_two_parts() {
    let names = names("M3D_Cap_npy/ct_case/000001/Axial_bone.npy");
    assert_eq!((names.case_id.as_str(), names.series.as_str()), ("000001", "Axial_bone"));
}
