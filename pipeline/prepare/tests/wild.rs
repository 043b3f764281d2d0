//! No configuration of a preparation panics: every number in turn is replaced by those that overflow or are none, and the run
//! then ends in a dataset or in one message that names the key.

use std::error::Error;
use std::fs;
use std::path::Path;

use med2e3_prepare::config::PrepareConfig;
use med2e3_prepare::prepare::prepare;
use med2e3_program::WorkPart;
use med2e3_schemas::config::parse;
use toml::{Table, Value};

/// A run of one volume and its texts, with every number that a configuration may state.
const BASE: &str = r#"
root = "ROOT"
[manifest]
questions = [{ path = "rows.csv", split = "train" }]
limits = { field_kib = 1024, json_mib = 64 }
[volume]
shape = [4, 8, 8]
voxels = "u8"
max_decoded_mib = 16
[volume.recipe.ct]
shape_dhw = [4, 8, 8]
spacing_mm = [4.0, 2.0, 2.0]
intensity = { window = { center = 40.0, width = 400.0 } }
crop = { above_hu = -500.0 }
[text]
template = "phi"
tokenizer = { train = 300 }
length = 768
visual_tokens = 512
[engine]
threads = 1
volumes_per_range = 8
texts_per_range = 8
[limits]
reject_rows = 20
reject_percent = 100.0
"#;

const WHOLE: [i64; 8] = [0, -1, 1, 1 << 31, 1 << 32, 1 << 40, i64::MAX, i64::MIN];
const FLOATS: [f64; 9] =
    [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e-320, f64::MIN_POSITIVE, 1e300];

/// A NIfTI file of 8 x 8 x 4 voxels of 16 bits, air and body, 2 x 2 x 4 mm each.
fn volume() -> Vec<u8> {
    let mut header = [0; 352];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348i32.to_le_bytes());
    for (n, size) in [3i16, 8, 8, 4, 1, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * n, &size.to_le_bytes());
    }
    put(70, &4i16.to_le_bytes());
    put(72, &16i16.to_le_bytes());
    for (n, size) in [1f32, 2.0, 2.0, 4.0].iter().enumerate() {
        put(76 + 4 * n, &size.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(254, &1i16.to_le_bytes());
    for (row, size) in [2f32, 2.0, 4.0].iter().enumerate() {
        put(280 + 20 * row, &size.to_le_bytes());
    }
    put(344, b"n+1\0");
    let voxels = (0..256i16).flat_map(|n| (if n % 16 < 4 { -1000 } else { n }).to_le_bytes());
    header.into_iter().chain(voxels).collect()
}

/// Every number by its path.
fn numbers(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        Value::Integer(_) | Value::Float(_) => return found.push(path.clone()),
        _ => return,
    };
    for (key, value) in children {
        path.push(key);
        numbers(value, path, found);
        path.pop();
    }
}

fn slot<'t>(value: &'t mut Value, path: &[String]) -> &'t mut Value {
    path.iter().fold(value, |value, key| match value {
        Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        value => &mut value[key.as_str()],
    })
}

/// Runs the preparation; the error's words where it fails.
fn run(config: &Value, out: &Path) -> Result<(), String> {
    let text = toml::to_string(config).unwrap();
    let config: PrepareConfig = parse("wild.toml", &text, &[]).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(prepare(&config, out, WorkPart::WHOLE)).map(|_| ()).map_err(|error| {
        let (mut chain, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            chain = format!("{chain}: {error}");
            cause = error.source();
        }
        chain
    })
}

#[test]
fn no_number_of_a_configuration_panics() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("root");
    fs::create_dir(&root).unwrap();
    let header = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice";
    fs::write(root.join("v.nii"), volume()).unwrap();
    fs::write(root.join("rows.csv"), format!("{header}\nv.nii,1,Which plane?,a,b,c,d,a,A\nv.nii,1,Why?,a,b,c,d,a,A\n"))
        .unwrap();
    let base: Table = BASE.replace("ROOT", root.to_str().unwrap()).parse().unwrap();
    let base = Value::Table(base);
    let mut paths = Vec::new();
    numbers(&base, &mut Vec::new(), &mut paths);
    let (mut ran, mut refused) = (0, 0);
    for (number, path) in paths.iter().enumerate() {
        let is_float = slot(&mut base.clone(), path).is_float();
        let values: Vec<Value> =
            if is_float { FLOATS.map(Value::Float).to_vec() } else { WHOLE.map(Value::Integer).to_vec() };
        for (n, value) in values.into_iter().enumerate() {
            let mut changed = base.clone();
            *slot(&mut changed, path) = value.clone();
            let out = above.path().join(format!("{number}-{n}"));
            let key = path.iter().rev().find(|key| key.parse::<usize>().is_err()).unwrap();
            match run(&changed, &out) {
                Ok(()) => ran += 1,
                Err(message) => {
                    // A number that is not refused may set all rows aside.
                    let is_named = message.contains(key.as_str()) || message.contains("set aside");
                    assert!(is_named && message.len() < 2000, "{} = {value}: {message}", path.join("."));
                    refused += 1;
                }
            }
        }
    }
    assert!(
        ran > paths.len() / 2 && refused > 2 * paths.len(),
        "{ran} ran, {refused} were refused, {} numbers",
        paths.len()
    );
}
