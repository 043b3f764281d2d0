//! Weights from files as torch and safetensors write them, and from damaged ones. The files and what torch finds in them
//! are in `golden/torch_weights.safetensors`.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::path::Path;

use med2e3_trainer::files::weights_file::{IN_A_FOLDER, WeightsFile};
use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

/// The golden files by name, what torch finds in each, and the keys that are no tensors.
struct Golden {
    files: BTreeMap<String, Vec<u8>>,
    expected: HashMap<String, BTreeMap<String, Tensor>>,
    other: HashMap<String, Vec<String>>,
}

impl Golden {
    fn open() -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch_weights.safetensors");
        let bytes = fs::read(&path).unwrap();
        let views = SafeTensors::deserialize(&bytes).unwrap();
        let file = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            Some((name.strip_prefix("file/")?.to_owned(), view.data().to_vec()))
        };
        let files = views.iter().filter_map(file).collect();
        let mut expected = HashMap::<String, BTreeMap<String, Tensor>>::new();
        // Read by tch's own reader, or nothing would be compared with anything.
        for (name, tensor) in Tensor::read_safetensors(&path).unwrap() {
            if let Some((file, key)) = name.strip_prefix("expected/").and_then(|name| name.split_once('/')) {
                expected.entry(file.to_owned()).or_default().insert(key.to_owned(), tensor);
            }
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let other = serde_json::from_str(&header.metadata().as_ref().unwrap()["other"]).unwrap();
        Golden { files, expected, other }
    }

    /// Writes files of these names to a folder, under these names in it.
    fn write(&self, folder: &Path, names: &[(&str, &str)]) {
        for (name, under) in names {
            fs::write(folder.join(under), &self.files[*name]).unwrap();
        }
    }
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

fn assert_holds(weights: &WeightsFile, expected: &BTreeMap<String, Tensor>) {
    assert!(weights.names().eq(expected.keys()), "{:?}", weights.names().collect::<Vec<_>>());
    for ((name, tensor), expected) in weights.tensors(Device::Cpu, None).unwrap().iter().zip(expected.values()) {
        let found = (weights.kind(name).unwrap(), weights.shape(name).unwrap().to_vec());
        assert_eq!(found, (expected.kind(), expected.size()), "{name}");
        assert_eq!((tensor.kind(), tensor.size()), (expected.kind(), expected.size()), "{name}");
        assert!(tensor.is_contiguous(), "{name}");
        // Bit for bit: NaN and -0 too.
        assert_eq!(bytes_of(tensor), bytes_of(expected), "{name}");
    }
}

/// The whole chain of an error.
fn chain(error: &dyn Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", source.unwrap_or_default())
}

fn refusal(path: &Path) -> String {
    match WeightsFile::open(path) {
        Ok(_) => panic!("{path:?} was read"),
        Err(error) => chain(&error),
    }
}

#[test]
fn files_hold_what_torch_finds_in_them() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    // The form is known by the content, not by the name.
    let path = folder.path().join("weights");
    assert!(golden.other.len() > 10);
    for (name, other) in &golden.other {
        println!("{name}");
        golden.write(folder.path(), &[(name, "weights")]);
        let weights = WeightsFile::open(&path).unwrap();
        assert_holds(&weights, &golden.expected[name]);
        assert_eq!(weights.other(), other, "{name}");
    }
}

#[test]
fn a_tensor_comes_in_the_kind_that_is_asked_for() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    golden.write(folder.path(), &[("views", "w.bin")]);
    let weights = WeightsFile::open(&folder.path().join("w.bin")).unwrap();
    for name in ["base", "transposed", "expanded", "empty_slice"] {
        let found = weights.tensor(name, Device::Cpu, Some(Kind::BFloat16)).unwrap();
        let expected = golden.expected["views"][name].to_kind(Kind::BFloat16);
        assert_eq!((found.kind(), found.size()), (Kind::BFloat16, expected.size()));
        assert_eq!(bytes_of(&found), bytes_of(&expected));
    }
    let missing = weights.tensor("nothing", Device::Cpu, None).unwrap_err().to_string();
    assert!(missing.contains("`nothing`") && missing.contains("w.bin"), "{missing}");
}

#[test]
fn nothing_but_tensors_and_containers_is_built() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("system", "posix.system"),
        ("eval", "__builtin__.eval"),
        ("eval_protocol_4", "builtins.eval"),
        ("numpy", "numpy"),
        ("class", "__main__.Mine"),
        ("complex", "torch.ComplexFloatStorage"),
        ("float8", "torch._utils._rebuild_tensor_v3"),
        ("sparse", "torch._utils._rebuild_sparse_tensor"),
        ("negative", "without marks"),
        ("operation", "operation 0x97"),
        ("trailing", "one value as a whole"),
        ("cut_pickle", "data.pkl at byte"),
        ("huge_numel", "4611686018427387904 of 4 bytes in the 24"),
        ("larger_numel", "7 of 4 bytes in the 24"),
        ("negative_numel", "-1 of 4 bytes"),
        ("offset", "in a storage of 6 elements"),
        ("shape", "in a storage of 6 elements"),
        ("stride", "in a storage of 6 elements"),
        ("negative_stride", "strides [-1, 1]"),
        ("expanded_bomb", "`w`"),
        ("missing_storage", "no entry for key `0`"),
        ("no_pickle", "expected one entry data.pkl, found 0"),
        ("big_endian", "expected byte order little, found big"),
        ("compressed", "compressed by method 8"),
        ("encrypted", "encrypted"),
        ("overlapping", "archive/.data/serialization_id"),
        ("name_twice", "`archive/data/0`: expected one entry"),
        ("cut", "cut short"),
        ("legacy", "hint: load it once with a newer torch"),
        ("root_tensor", "found a tensor"),
        ("root_list", "found a list"),
        ("no_tensors", "found no tensors"),
        ("two_dicts", "several: model, ema"),
        ("empty", "an empty file"),
        ("pointer", "pointer of git-lfs"),
        ("pickle_alone", "begin with [80, 02"),
    ];
    for (name, part) in cases {
        golden.write(folder.path(), &[(&format!("bad/{name}"), "w.bin")]);
        let message = refusal(&folder.path().join("w.bin"));
        println!("{message}\n");
        assert!(message.contains(part) && message.contains("w.bin"), "{name}: {message}");
    }
    let all = golden.files.keys().filter(|name| name.starts_with("bad/")).count();
    assert_eq!(all, cases.len(), "every bad file is tried");
}

#[test]
fn every_cut_of_a_file_is_refused() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    for name in ["simple", "safetensors"] {
        let whole = &golden.files[name];
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(!refusal(&path).is_empty());
        }
    }
}

#[test]
fn bytes_of_a_bool_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let mut bytes = safetensors::serialize(
        [("b", safetensors::tensor::TensorView::new(safetensors::Dtype::BOOL, vec![2], &[1, 0]).unwrap())],
        None,
    )
    .unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(bytes_of(&WeightsFile::open(&path).unwrap().tensor("b", Device::Cpu, None).unwrap()), [1, 0]);
    *bytes.last_mut().unwrap() = 2;
    fs::write(&path, &bytes).unwrap();
    assert!(
        WeightsFile::open(&path).unwrap().tensor("b", Device::Cpu, None).unwrap_err().to_string().contains("found 2")
    );
}

const SHARDS: [&str; 2] = ["model-00001-of-00002", "model-00002-of-00002"];

#[test]
fn an_index_and_its_files_are_one() {
    let golden = Golden::open();
    for (ending, index) in [("safetensors", IN_A_FOLDER[1]), ("bin", IN_A_FOLDER[3])] {
        let folder = tempfile::tempdir().unwrap();
        let shards = SHARDS.map(|shard| format!("{shard}.{ending}"));
        golden.write(folder.path(), &shards.each_ref().map(|shard| (shard.as_str(), shard.as_str())));
        golden.write(folder.path(), &[(&format!("index.{ending}"), index)]);
        for path in [folder.path(), &folder.path().join(index)] {
            let weights = WeightsFile::open(path).unwrap();
            assert_holds(&weights, &golden.expected["index"]);
            assert!(weights.path().ends_with(index));
        }
    }
}

#[test]
fn an_index_that_its_files_contradict_is_refused() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let shards = SHARDS.map(|shard| format!("{shard}.safetensors"));
    golden.write(&below, &shards.each_ref().map(|shard| (shard.as_str(), shard.as_str())));
    // It is there, but no index may name it.
    golden.write(folder.path(), &[(&shards[1], "x")]);
    let cases = [
        ("missing_shard", "model-00003-of-00002.safetensors"),
        ("missing_name", "`d`"),
        ("wrong_shard", "`b`"),
        ("unmapped_name", "`b` too"),
        ("parent", "`../x`"),
        ("folder", "`x/model"),
        ("absolute", "`/model"),
        ("dot", "`./model"),
        ("name_twice", "`c` twice"),
        ("no_text", "expected a string"),
        ("no_map", "weight_map"),
        ("cut", "index.json"),
    ];
    for (name, part) in cases {
        golden.write(&below, &[(&format!("bad_index/{name}"), "model.safetensors.index.json")]);
        let message = refusal(&below);
        println!("{message}\n");
        assert!(message.contains(part), "{name}: {message}");
    }
    let all = golden.files.keys().filter(|name| name.starts_with("bad_index/")).count();
    assert_eq!(all, cases.len(), "every bad index is tried");
}

#[test]
fn a_folder_is_read_by_rank() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(folder.path()).contains("model.safetensors.index.json"));
    golden.write(folder.path(), &[("simple", "pytorch_model.bin")]);
    assert_holds(&WeightsFile::open(folder.path()).unwrap(), &golden.expected["simple"]);
    golden.write(folder.path(), &[("safetensors", "model.safetensors")]);
    assert_holds(&WeightsFile::open(folder.path()).unwrap(), &golden.expected["kinds"]);
    assert!(refusal(&folder.path().join("absent.bin")).contains("absent.bin"));
}
