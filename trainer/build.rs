//! Compiles the C++ files of `src/libtorch` against libtorch's headers and lets every binary and test find libtorch without
//! any variable set.

use std::path::{Path, PathBuf};
use std::{env, fs};

const MISSING: &str = "libtorch not found: run `cargo xtask setup`";
const SOURCES: &str = "src/libtorch";

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed=LIBTORCH");

    let lib = library_folder();
    let include = lib.parent().expect(MISSING).join("include");
    assert!(include.join("ATen/ATen.h").is_file(), "{MISSING} ({} holds no ATen headers)", include.display());

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // libtorch's headers are not free of warnings.
        .warnings(false)
        .flag("-isystem")
        .flag(&include)
        .opt_level(1)
        .debug(false)
        // As libtorch itself was built: without it some of its classes have a member more than in the library.
        .define("NDEBUG", None)
        .files(cpp_files())
        .compile("med2e3_libtorch");

    // A build script's rpath survives a set RUSTFLAGS and a moved target folder; the one in `.cargo/config.toml` would not.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
}

/// Every C++ file, sorted, so that the archive does not depend on the order of the folder.
fn cpp_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(SOURCES).expect("the crate has its sources");
    let files = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "cpp")).collect();
    files.sort();
    files
}

/// The folder with libtorch_cpu.so: what torch-sys reports where it is a direct dependency, else LIBTORCH's.
fn library_folder() -> PathBuf {
    let lib = env::var_os("DEP_TCH_LIBTORCH_LIB")
        .map(PathBuf::from)
        .or_else(|| env::var_os("LIBTORCH").map(|root| Path::new(&root).join("lib")))
        .expect(MISSING);
    assert!(lib.join("libtorch_cpu.so").is_file(), "{MISSING} ({} holds no libtorch_cpu.so)", lib.display());
    lib
}
