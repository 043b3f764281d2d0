//! Recipe `ct` and antialiased resampling: compared with torch, MONAI, numpy and SimpleITK (golden files); refused
//! volumes.

use std::path::Path;

use med2e3_input::InputError;
use med2e3_input::recipe::{self, CtCrop, CtRecipe, Intensity};
use med2e3_input::resample::{self, AxisFilter, Crop};
use med2e3_input::volume::{Arrangement, Grid, Rescale, Volume};

/// The sources of tests/golden/ct.py.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|n| (((n + seed * 1_000_003) * 2_654_435_761 % (1 << 32)) >> 20) as f32).collect()
}

fn shape(text: &str) -> [usize; 3] {
    text.split('x').map(|dim| dim.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap()
}

/// HU stored as by scanners, unsigned with an offset of 1024, 5 x 0.75 x 0.75 mm.
fn scan(hu: &[f32], shape_dhw: [usize; 3]) -> Volume {
    Volume {
        samples: hu.iter().map(|hu| (hu + 1024.0) as u16).collect::<Vec<_>>().into(),
        rescale: Rescale { slope: 1.0, intercept: -1024.0 },
        spacing_mm_dhw: Some([5.0, 0.75, 0.75]),
        hu_known: true,
        ..Volume::plain(Path::new("made"), shape_dhw, Vec::<u16>::new(), Rescale::IDENTITY)
    }
}

/// Noise of -1024 to 1023 HU with a border of air.
fn body(shape_dhw: [usize; 3], seed: u64) -> Volume {
    let [_, height, width] = shape_dhw;
    let inside = |n: usize, size: usize| size <= 3 || (n > 0 && n < size - 1);
    let hu = noise(shape_dhw.iter().product(), seed).into_iter().enumerate().map(|(n, value)| {
        let voxel = [n / (height * width), n / width % height, n % width];
        if (0..3).all(|axis| inside(voxel[axis], shape_dhw[axis])) { value % 2048.0 - 1024.0 } else { -1000.0 }
    });
    scan(&hu.collect::<Vec<_>>(), shape_dhw)
}

fn recipe_of(json: &str) -> CtRecipe {
    serde_json::from_str(json).unwrap()
}

#[test]
fn equals_the_references_within_a_hundred_thousandth_of_the_range() {
    let golden = include_bytes!("golden/ct.bin");
    let mut expected = golden.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    let mut out = Vec::new();
    let (mut plain, mut full) = (0, 200);
    for line in include_str!("golden/ct.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields = line.split(' ').collect::<Vec<_>>();
        let source = shape(fields[1]);
        let range = if fields[0] == "triangle" {
            let target = shape(fields[2]);
            let filters = std::array::from_fn(|axis| AxisFilter::resize(source[axis], target[axis]));
            let values = noise(source.iter().product(), plain);
            let grid = Grid::new(&values, source, Arrangement::DHW).unwrap();
            resample::triangle(&grid, Rescale::IDENTITY, &Crop::whole(source), &filters, 0.0, &mut out);
            plain += 1;
            4095.0
        } else {
            let recipe = recipe_of(fields[2]);
            let info = recipe::ct(&body(source, full), &recipe, &mut out).unwrap();
            assert_eq!(info.source_shape_dhw, source);
            assert_eq!(info.crop == Crop::whole(source), recipe.crop == CtCrop::None, "{line}");
            assert_eq!(out.len(), recipe.shape_dhw.iter().product::<usize>());
            full += 1;
            if recipe.intensity == Intensity::None { 2048.0 } else { 1.0 }
        };
        let differences = out.iter().zip(expected.by_ref()).map(|(a, b)| (a - b).abs());
        let farthest = differences.fold(0.0, f32::max);
        assert!(farthest <= 1e-5 * range, "{line}: off by {farthest}");
    }
    assert!(expected.next().is_none());
}

#[test]
fn a_window_applied_to_hu_equals_the_windowed_recipe() {
    let volume = body([9, 20, 24], 5);
    let (mut hu, mut windowed) = (Vec::new(), Vec::new());
    recipe::ct(&volume, &recipe_of(r#"{"shape_dhw": [4, 9, 9]}"#), &mut hu).unwrap();
    let lung = recipe_of(r#"{"shape_dhw": [4, 9, 9], "intensity": {"window": "lung"}}"#);
    recipe::ct(&volume, &lung, &mut windowed).unwrap();
    assert!(hu.iter().any(|value| *value < -100.0) && hu.iter().any(|value| *value > 100.0));
    for (hu, windowed) in hu.iter().zip(&windowed) {
        assert!((((hu + 1350.0) / 1500.0).clamp(0.0, 1.0) - windowed).abs() <= 1e-6);
    }
}

#[test]
fn the_volumes_own_spacing_moves_no_voxel() {
    let volume = body([5, 6, 7], 8);
    let mut out = Vec::new();
    let recipe = recipe_of(r#"{"shape_dhw": [8, 9, 10], "spacing_mm": [5, 0.75, 0.75], "crop": "none"}"#);
    recipe::ct(&volume, &recipe, &mut out).unwrap();
    for (n, value) in out.iter().enumerate() {
        let voxel = [n / 90, n / 10 % 9, n % 10];
        let source: [Option<usize>; 3] =
            std::array::from_fn(|axis| voxel[axis].checked_sub(1).filter(|n| *n < volume.shape_dhw[axis]));
        let expected = match source {
            [Some(d), Some(h), Some(w)] => volume.rescale.value(volume.samples.get((d * 6 + h) * 7 + w)),
            _ => -1000.0,
        };
        assert_eq!(*value, expected, "{voxel:?}");
    }
}

#[test]
fn a_thin_structure_contributes_to_the_result() {
    // One bright slice of 40 contributes to the output slices that cover it; plain interpolation would skip it.
    let mut hu = vec![0.0; 40 * 4];
    hu[16 * 4..17 * 4].fill(1000.0);
    let mut out = Vec::new();
    let recipe = recipe_of(r#"{"shape_dhw": [4, 2, 2], "crop": "none"}"#);
    recipe::ct(&scan(&hu, [40, 2, 2]), &recipe, &mut out).unwrap();
    let mean = out.iter().sum::<f32>() / out.len() as f32;
    assert!((mean - 1000.0 / 40.0).abs() < 2.0, "{mean}");
}

#[test]
fn unknown_units_and_spacings_are_refused() {
    let mut out = Vec::new();
    let mut reason = |volume: &Volume, json: &str| -> Result<[f32; 2], String> {
        let prepared = recipe::ct(volume, &recipe_of(json), &mut out);
        prepared.map(|_| [out[0], *out.last().unwrap()]).map_err(|error: InputError| {
            assert!(error.to_string().starts_with("made: expected"), "{error}");
            error.reason().to_string()
        })
    };
    let known = body([4, 6, 7], 1);
    let unknown = Volume { hu_known: false, spacing_mm_dhw: None, ..known.clone() };
    for hu in [
        r#"{"shape_dhw": [2, 2, 2]}"#,
        r#"{"shape_dhw": [2, 2, 2], "intensity": {"window": "brain"}}"#,
        r#"{"shape_dhw": [2, 2, 2], "intensity": {"percentile": {"low": 1, "high": 99}}, "crop": {"above_hu": 0}}"#,
    ] {
        assert!(reason(&known, hu).is_ok());
        assert_eq!(reason(&unknown, hu).unwrap_err(), "hu_unknown");
    }
    let percentile = r#"{"shape_dhw": [2, 2, 2], "intensity": {"percentile": {"low": 1, "high": 99}}}"#;
    assert!(reason(&unknown, percentile).is_ok());
    let spaced = percentile.replace("[2, 2, 2],", "[2, 2, 2], \"spacing_mm\": [1, 1, 1],");
    assert!(reason(&known, &spaced).is_ok());
    assert_eq!(reason(&unknown, &spaced).unwrap_err(), "spacing_unknown");
}

#[test]
fn volumes_without_contrast_are_refused() {
    let mut out = Vec::new();
    let mut error = |volume: &Volume, json: &str| recipe::ct(volume, &recipe_of(json), &mut out).unwrap_err();
    assert!(matches!(error(&scan(&[40.0; 24], [2, 3, 4]), "{}"), InputError::AllZero { found: 40.0, .. }));
    let mut air = [-1000.0; 24];
    air[5] = -500.0;
    let air = scan(&air, [2, 3, 4]);
    assert!(matches!(error(&air, "{}"), InputError::NoForeground { found: -500.0, .. }));
    let percentile = r#"{"intensity": {"percentile": {"low": 1, "high": 50}}, "crop": "none"}"#;
    let error = error(&air, percentile);
    assert!(matches!(error, InputError::NoContrast { found: -1000.0, .. }));
    assert_eq!(error.reason().as_str(), "all_zero");

    for value in [f64::INFINITY, -1e38] {
        let mut values = vec![0.0; 24];
        values[7] = value;
        let broken = Volume { samples: values.into(), ..air.clone() };
        let error = recipe::ct(&broken, &CtRecipe::default(), &mut out).unwrap_err();
        assert!(matches!(error, InputError::NotFinite { index: 7, .. }));
    }
}

#[test]
fn a_very_small_range_is_mapped() {
    let mut values = vec![0.0; 24];
    values[5] = f64::from(f32::from_bits(3));
    let volume = Volume { samples: values.into(), rescale: Rescale::IDENTITY, ..scan(&[0.0; 24], [2, 3, 4]) };
    let recipe =
        recipe_of(r#"{"shape_dhw": [2, 3, 4], "intensity": {"percentile": {"low": 0, "high": 100}}, "crop": "none"}"#);
    let mut out = Vec::new();
    recipe::ct(&volume, &recipe, &mut out).unwrap();
    assert_eq!(out, (0..24).map(|n| if n == 5 { 1.0 } else { 0.0 }).collect::<Vec<f32>>());
}

#[test]
fn a_recipe_is_checked_when_it_is_read() {
    assert_eq!(recipe_of("{}"), CtRecipe::default());
    for (bad, expected) in [
        (r#"{"shape_dhw": [32, 0, 256]}"#, "at least 1 voxel"),
        (r#"{"spacing_mm": [1, -1, 1]}"#, "above 0 mm"),
        (r#"{"intensity": {"percentile": {"low": 60, "high": 40}}}"#, "low < high"),
        (r#"{"intensity": {"window": "liver"}}"#, "`soft_tissue`"),
        (r#"{"intensity": "lung"}"#, "`window`"),
        (r#"{"crop": "body"}"#, "`foreground`"),
        (r#"{"spacing": [1, 1, 1]}"#, "`spacing_mm`"),
    ] {
        let message = serde_json::from_str::<CtRecipe>(bad).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let recipe = recipe_of(r#"{"intensity": {"window": {"center": 1, "width": 2}}, "crop": {"above_hu": -300}}"#);
    assert_eq!(recipe_of(&serde_json::to_string(&recipe).unwrap()), recipe);
}
