//! The rules of ARCHITECTURE.md that a compiler cannot see, checked on the source tree.
//!
//! Each rule first has to find a planted violation, so that none can pass by looking at nothing.

use std::collections::BTreeSet;

use med2e3_tests::packages::{Package, differing, names_in, packages, tree};
use med2e3_tests::source::{Source, names, sources};

/// What of a Rust file a rule reads.
#[derive(Clone, Copy)]
enum Part {
    /// Code, tests included.
    Code,
    /// Code without tests.
    Product,
    /// The text between quotes, without tests.
    Strings,
}

/// Words that are allowed under some paths only; under none if no path is listed.
struct Confined {
    words: &'static [&'static str],
    part: Part,
    /// Where the rule looks: everywhere if empty.
    within: &'static [&'static str],
    allowed: &'static [&'static str],
    /// A file and a text that break the rule.
    planted: (&'static str, &'static str),
}

impl Confined {
    fn violations(&self, source: &Source) -> Vec<String> {
        let looked_at = source.is_rust() && (self.within.is_empty() || source.is_under(self.within));
        let tests = source.is_test() && !matches!(self.part, Part::Code);
        if !looked_at || tests || source.is_under(self.allowed) {
            return Vec::new();
        }
        let text = match self.part {
            Part::Code => source.code(),
            Part::Product => source.product_code(),
            Part::Strings => source.product_strings(),
        };
        let found = self.words.iter().filter(|word| names(&text, word));
        found.map(|word| format!("{} names `{word}`", source.path)).collect()
    }

    /// Fails unless the planted violation is found and the tree has none.
    fn holds(&self) {
        let (path, text) = self.planted;
        assert!(!self.violations(&Source::new(path, text)).is_empty(), "the planted violation is not found");
        for path in self.allowed.iter().filter(|path| path.contains('/')) {
            assert!(self.violations(&Source::new(path, text)).is_empty(), "{path} is refused what it may name");
        }
        assert_none(sources().iter().flat_map(|source| self.violations(source)));
    }
}

fn assert_none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn datafusion_is_named_only_in_the_engine() {
    Confined {
        words: &["datafusion"],
        part: Part::Code,
        within: &[],
        allowed: &["pipeline/prepare/src/engine"],
        planted: ("pipeline/feed/src/feed.rs", "use datafusion::prelude::*;"),
    }
    .holds();
}

#[test]
fn inputs_are_read_where_faults_of_the_machine_are_heard() {
    Confined {
        words: &["std::fs"],
        part: Part::Product,
        within: &["pipeline/input/src", "pipeline/prepare/src/manifest"],
        allowed: &["pipeline/input/src/reading.rs", "pipeline/prepare/src/manifest/stamp.rs"],
        planted: ("pipeline/input/src/volume/npy.rs", "use std::fs::File;"),
    }
    .holds();
}

#[test]
fn ct_files_are_read_only_in_the_volume_folder() {
    Confined {
        words: &[
            "use nifti",
            " nifti::",
            "(nifti::",
            "&nifti::",
            "<nifti::",
            "NiftiObject",
            "InMemNiftiObject",
            "NiftiHeader",
            "ReaderOptions",
            "dicom",
            "dicom_core",
            "dicom_object",
            "dicom_pixeldata",
            "mozjpeg",
            "hayro_jpeg2000",
        ],
        part: Part::Product,
        within: &[],
        // The demo set writes the NIfTI files that the flow then reads; see the next rule.
        allowed: &["pipeline/input/src/volume", "pipeline/prepare/src/demo_set"],
        planted: ("trainer/src/verb/explain/pictures.rs", "use nifti::NiftiObject;"),
    }
    .holds();
}

#[test]
fn the_demo_set_writes_ct_files_and_reads_none() {
    Confined {
        words: &["NiftiObject", "InMemNiftiObject", "ReaderOptions"],
        part: Part::Product,
        within: &["pipeline/prepare/src/demo_set"],
        allowed: &[],
        planted: ("pipeline/prepare/src/demo_set/scan.rs", "let object = nifti::ReaderOptions::new();"),
    }
    .holds();
}

#[test]
fn images_are_decoded_only_in_the_volume_folder() {
    Confined {
        words: &[
            "image::open",
            "ImageReader",
            "ImageDecoder",
            "PngDecoder",
            "JpegDecoder",
            "load_from_memory",
            "load_from_memory_with_format",
        ],
        part: Part::Product,
        within: &[],
        allowed: &["pipeline/input/src/volume"],
        planted: ("trainer/src/verb/explain/pictures.rs", "let picture = image::open(path)?;"),
    }
    .holds();
}

#[test]
fn crossbeam_is_named_only_by_the_ring() {
    Confined {
        words: &["crossbeam", "crossbeam_queue", "crossbeam_channel"],
        part: Part::Code,
        within: &[],
        allowed: &["pipeline/feed/src/sync.rs", "pipeline/feed/model"],
        planted: ("pipeline/feed/src/feed.rs", "use crossbeam::queue::ArrayQueue;"),
    }
    .holds();
}

#[test]
fn published_weight_names_are_only_with_the_weights() {
    Confined {
        words: &[
            "qkv_proj",
            "gate_up_proj",
            "patch_embeddings.1",
            "vision_model.embeddings",
            "_connector.",
            "language_encoder.",
            "mm_vision_proj",
        ],
        part: Part::Strings,
        within: &[],
        allowed: &["trainer/src/model/weights"],
        planted: ("trainer/src/model/layers/attention.rs", "load(\"self_attn.qkv_proj.weight\")"),
    }
    .holds();
}

#[test]
fn unsafe_code_is_in_one_place_of_a_crate() {
    Confined {
        words: &["unsafe", "unsafe_code"],
        part: Part::Code,
        within: &[],
        allowed: &[
            "trainer/src/libtorch",
            "pipeline/store/src/map.rs",
            "pipeline/feed/src/block.rs",
            // An allocator that counts is unsafe to state.
            "pipeline/feed/tests/steady.rs",
            "program/src/signals.rs",
            "python/feed/src/dlpack.rs",
        ],
        planted: ("pipeline/shards/src/read.rs", "#![allow(unsafe_code)]"),
    }
    .holds();
}

#[test]
fn randomness_comes_from_a_seed() {
    Confined {
        words: &["thread_rng", "rand::rng", "rand::random", "from_os_rng", "from_entropy", "OsRng", "getrandom"],
        part: Part::Code,
        within: &[],
        allowed: &[],
        planted: ("pipeline/feed/src/order.rs", "let mut random = rand::rng();"),
    }
    .holds();
}

#[test]
fn clocks_are_read_only_for_progress_and_cost() {
    Confined {
        words: &["SystemTime::now", "Instant::now"],
        part: Part::Product,
        within: &[],
        allowed: &["progress.rs", "pipeline/shards/src/cost.rs", "xtask/", "metric/examples/"],
        planted: ("trainer/src/train/mod.rs", "let started = std::time::Instant::now();"),
    }
    .holds();
}

#[test]
fn clap_is_named_only_by_command_lines() {
    Confined {
        words: &["clap"],
        part: Part::Code,
        within: &[],
        allowed: &["pipeline/prepare/src/cli", "trainer/src/cli", "program/src"],
        planted: ("trainer/src/precision.rs", "#[derive(clap::ValueEnum)]"),
    }
    .holds();
}

#[test]
fn standard_error_is_written_only_by_way_of_the_frame() {
    // What strangers' texts would tell a terminal is shown there, and a message can't be forged.
    Confined {
        words: &["eprintln!", "eprint!", "io::stderr"],
        part: Part::Product,
        within: &["schemas/src", "metric/src", "page/src", "pipeline/", "program/src", "trainer/src"],
        allowed: &["program/src/stderr.rs", "program/src/progress.rs"],
        planted: ("trainer/src/verb/ask.rs", "eprintln!(\"note: {note}\");"),
    }
    .holds();
}

#[test]
fn standard_output_is_written_only_by_way_of_the_frame() {
    // `println!` panics where the reader has closed the pipe or the disk is full.
    Confined {
        words: &["println!", "print!", "io::stdout"],
        part: Part::Product,
        within: &["schemas/src", "metric/src", "page/src", "pipeline/", "program/src", "trainer/src"],
        allowed: &["program/src/stdout.rs"],
        planted: ("pipeline/prepare/src/show/sql.rs", "println!(\"{text}\");"),
    }
    .holds();
}

#[test]
fn temporary_names_are_made_in_one_place() {
    // A fixed one lets two writers of one file publish a mixture.
    Confined {
        words: &[".part", ".partial", ".tmp", ".temp"],
        part: Part::Strings,
        within: &[],
        allowed: &["pipeline/store/src/temporary.rs", "xtask/"],
        planted: ("pipeline/shards/src/write.rs", "name.push(\".part\");"),
    }
    .holds();
}

/// Code that makes hashes which reach a disk.
const HASHES: [&str; 5] = ["Hasher", "Identity", "of_parts", "keyed_hash", "range_identity"];

#[test]
fn no_hash_depends_on_how_code_is_spelled() {
    // `{:?}` shows names of types and fields, which may change without a change of meaning.
    let makes_hashes = |source: &Source| {
        source.is_rust() && !source.is_test() && HASHES.iter().any(|word| names(&source.product_code(), word))
    };
    let shows = |source: &Source| source.product_strings().contains(":?}") || source.product_strings().contains(":#?}");
    let breaks = |source: &Source| makes_hashes(source) && shows(source);
    assert!(breaks(&Source::new("a.rs", "Id::of_parts([format!(\"{recipe:?}\").as_bytes()])")));
    assert!(!breaks(&Source::new("a.rs", "Id::of_parts([recipe.word().as_bytes()])")));
    assert!(!breaks(&Source::new("a.rs", "eprintln!(\"{recipe:?}\")")));
    assert_none(
        sources()
            .iter()
            .filter(|source| breaks(source))
            .map(|source| format!("{} makes hashes and formats something by its Debug text", source.path)),
    );
}

/// Words of configurations, manifests and columns that a function happens to have too.
const WORDS_OF_FILES: [&str; 2] = ["question_type", "volume_id"];

#[test]
fn messages_name_no_function() {
    // A person who runs a program can't call it.
    let products = || sources().into_iter().filter(|source| source.is_rust() && !source.is_test());
    let functions = |code: &str| {
        let after = code.split("fn ").skip(1);
        let names = after.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
        names.filter(|name| name.contains('_') && !WORDS_OF_FILES.contains(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let all: BTreeSet<String> = products().flat_map(|source| functions(&source.product_code())).collect();
    let named = |source: &Source| {
        let strings = source.product_strings();
        let quoted = strings.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        quoted.into_iter().find(|word| all.contains(word)).map(|word| format!("{} names `{word}`", source.path))
    };
    assert!(all.contains("train_bpe"), "the functions are not found");
    assert!(named(&Source::new("a.rs", "\"train one with `train_bpe`\"")).is_some());
    assert_none(products().filter_map(|source| named(&source)));
}

#[test]
fn models_know_nothing_of_files() {
    Confined {
        words: &["std::fs", "fs::read", "fs::write", "File::open", "File::create"],
        part: Part::Product,
        within: &["trainer/src/model/"],
        allowed: &["trainer/src/model/weights"],
        planted: ("trainer/src/model/med2e3.rs", "let sizes = std::fs::read_to_string(path)?;"),
    }
    .holds();
}

#[test]
fn metrics_know_nothing_of_tensors() {
    Confined {
        words: &["tch", "Tensor"],
        part: Part::Code,
        within: &["metric/"],
        allowed: &[],
        planted: ("metric/src/bleu.rs", "use tch::Tensor;"),
    }
    .holds();
}

#[test]
fn pages_know_nothing_of_files_and_tensors() {
    Confined {
        words: &["tch", "Tensor", "fs::", "arrow", "parquet"],
        part: Part::Code,
        within: &["page/"],
        allowed: &[],
        planted: ("page/src/frame.rs", "let style = std::fs::read_to_string(path)?;"),
    }
    .holds();
}

#[test]
fn nothing_is_left_for_later() {
    Confined {
        words: &["todo!", "unimplemented!", "dbg!", "#[ignore"],
        part: Part::Code,
        within: &[],
        allowed: &[],
        planted: ("schemas/src/lib.rs", "fn later() { todo!() }"),
    }
    .holds();
}

#[test]
fn every_module_opens_with_its_purpose() {
    let opens = |source: &Source| !source.is_rust() || source.text.trim_start().starts_with("//! ");
    assert!(!opens(&Source::new("a.rs", "use std::fs;\n//! Late.\n")));
    let silent = sources().into_iter().filter(|source| !opens(source));
    assert_none(silent.map(|source| format!("{} does not open with `//!`", source.path)));
}

/// Files that may be long: flat tables, read by lookup.
const LONG: [&str; 0] = [];
const LONGEST: usize = 600;

#[test]
fn a_file_is_one_noun() {
    let long = |source: &Source| source.is_rust() && source.text.lines().count() > LONGEST && !source.is_under(&LONG);
    assert!(long(&Source::new("a.rs", &"\n".repeat(LONGEST + 1))));
    assert!(!long(&Source::new("a.rs", &"\n".repeat(LONGEST))));
    let long = sources().into_iter().filter(long);
    assert_none(long.map(|source| format!("{} has {} lines", source.path, source.text.lines().count())));
}

#[test]
fn the_repository_names_no_place_outside_itself() {
    // Put together here, or this file would break its own rule.
    let places = [concat!("..", "/shared"), concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    // A folder of that name within the repository is no such place.
    let inside = |text: &str, at: usize| text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
    let names = |text: &str, place: &str| text.match_indices(place).any(|(at, _)| !inside(text, at));
    let outside = |source: &Source| places.into_iter().find(|place| names(&source.text, place));
    assert!(outside(&Source::new("README.md", &format!("see {}/x", places[0]))).is_some());
    let sources = sources();
    assert_none(sources.iter().filter_map(|source| Some(format!("{} names {}", source.path, outside(source)?))));
}

/// Who may depend on whom, tests included.
const EDGES: [(&str, &[&str]); 12] = [
    ("med2e3-schemas", &[]),
    ("med2e3-store", &[]),
    ("med2e3-metric", &["med2e3-store"]),
    ("med2e3-page", &[]),
    ("med2e3-input", &["med2e3-schemas"]),
    ("med2e3-shards", &["med2e3-schemas", "med2e3-store"]),
    ("med2e3-feed", &["med2e3-schemas", "med2e3-shards"]),
    ("med2e3-program", &["med2e3-schemas", "med2e3-store"]),
    (
        "med2e3-prepare",
        &[
            "med2e3-schemas",
            "med2e3-store",
            "med2e3-input",
            "med2e3-shards",
            "med2e3-feed",
            "med2e3-program",
            "med2e3-page",
        ],
    ),
    (
        "med2e3-trainer",
        &[
            "med2e3-schemas",
            "med2e3-store",
            "med2e3-input",
            "med2e3-shards",
            "med2e3-feed",
            "med2e3-program",
            "med2e3-metric",
            "med2e3-page",
        ],
    ),
    ("med2e3-tests", &[]),
    ("xtask", &[]),
];

#[test]
fn packages_depend_in_one_direction() {
    let refused = |package: &str, dependency: &str| {
        let allowed = EDGES.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed);
        match allowed {
            Some(allowed) => EDGES.iter().any(|(name, _)| *name == dependency) && !allowed.contains(&dependency),
            None => true,
        }
    };
    assert!(refused("med2e3-prepare", "med2e3-metric") && refused("med2e3-store", "med2e3-schemas"));
    assert!(refused("xtask", "med2e3-schemas") && !refused("med2e3-feed", "med2e3-shards"));
    let packages = packages();
    assert_none(packages.iter().flat_map(|package| {
        let refused = package.dependencies.iter().filter(|line| refused(&package.name, &line.name));
        refused.map(|line| format!("{} depends on {}", package.name, line.name))
    }));
}

/// The product code of a package, put together.
fn code_of(package: &Package, sources: &[Source]) -> String {
    let source_folder = format!("{}src/", package.folder);
    let own = sources.iter().filter(|source| source.is_rust() && source.path.starts_with(&source_folder));
    own.filter(|source| !source.is_test()).map(Source::product_code).collect()
}

/// What a package's Cargo.toml names and its product code does not.
fn unused<'a>(package: &'a Package, code: &str) -> Vec<&'a str> {
    let normal = package.dependencies.iter().filter(|line| line.is_normal).map(|line| line.name.as_str());
    normal.filter(|name| !names(code, &name.replace('-', "_"))).collect()
}

#[test]
fn every_dependency_is_used_outside_tests() {
    let sources = sources();
    let packages = packages();
    let shards = packages.iter().find(|package| package.name == "med2e3-shards").expect("shards is a member");
    assert!(unused(shards, "use arrow::array::Array;").contains(&"parquet"));
    let products = packages.iter().filter(|package| package.name != "med2e3-tests");
    assert_none(products.flat_map(|package| {
        let code = code_of(package, &sources);
        let unused = unused(package, &code).into_iter();
        unused.map(|name| format!("{} does not use {name} outside tests", package.name)).collect::<Vec<_>>()
    }));
}

#[test]
fn the_pillars_are_direct_dependencies() {
    let packages = packages();
    let lines = packages.iter().flat_map(|package| &package.dependencies);
    let direct: BTreeSet<&str> = lines.filter(|line| line.is_normal).map(|line| line.name.as_str()).collect();
    let absent = |name: &&str| !direct.contains(name);
    assert!(absent(&"no-such-crate"));
    let pillars = ["arrow", "parquet", "datafusion", "nifti", "image", "tch", "tokio", "crossbeam", "tokenizers"];
    assert_none(pillars.into_iter().filter(absent).map(|name| format!("no package depends on {name}")));
}

#[test]
fn each_program_carries_only_its_own_weight() {
    let heavy = |tree: &str, prefix: &str| names_in(tree).iter().any(|name| name.starts_with(prefix));
    let prepare = tree(&["--package", "med2e3-prepare"], "normal");
    let trainer = tree(&["--package", "med2e3-trainer"], "normal");
    assert!(heavy(&prepare, "datafusion") && heavy(&trainer, "torch-sys"), "the trees are not read");
    assert!(!heavy(&trainer, "datafusion"), "the trainer's tree holds DataFusion");
    for name in ["tch", "torch-sys"] {
        assert!(!names_in(&prepare).contains(name), "prepare's tree holds {name}");
    }
}

#[test]
fn programs_and_tests_share_one_build() {
    // Cargo compiles a crate once for each set of features, and everything that depends on it. `cargo build --workspace` and
    // `cargo test --workspace` must agree, or DataFusion is compiled twice.
    let programs = tree(&["--workspace"], "normal,build");
    let tests = tree(&["--workspace"], "normal,build,dev");
    assert_none(differing(&programs, &tests).iter().map(|package| format!("{package} has other features in tests")));
}

/// What both programs need and what takes long to build. Smaller crates below these may still differ, so a build of
/// both (`cargo build`, `cargo run --bin med2e3`) is the cheap one, never `--package`.
const SHARED: [&str; 5] = ["arrow", "arrow-", "parquet", "tokenizers", "image"];

#[test]
fn one_program_builds_what_both_build() {
    let both = tree(&["--workspace"], "normal,build");
    assert_eq!(differing("arrow v1.0.0 csv", "arrow v1.0.0 csv,json"), ["arrow v1.0.0"]);
    for package in ["med2e3-prepare", "med2e3-trainer"] {
        let one = tree(&["--package", package], "normal,build");
        let shared = |line: &&str| {
            let name = line.split(' ').next().unwrap_or_default();
            SHARED.iter().any(|shared| name == *shared || shared.ends_with('-') && name.starts_with(shared))
        };
        assert!(one.lines().any(|line| shared(&line)), "the tree of {package} is not read");
        let differing = differing(&one, &both);
        assert_none(differing.iter().filter(|line| shared(line)).map(|line| {
            format!("{line} has other features when {package} is built alone; name them in the workspace's Cargo.toml")
        }));
    }
}
