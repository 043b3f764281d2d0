//! `bench feed`: how fast a dataset's volumes are read as training reads them, beside what the machine gives for these very bytes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use med2e3_program::Stopwatch;
use med2e3_program::machine::require_threads;
use med2e3_shards::cell::decode;
use med2e3_shards::{Dataset, Place, ShardError};
use med2e3_store::PositionedFile;
use serde::Serialize;

use crate::PrepareError;

/// Volumes of the first batch.
const FIRST_BATCH: usize = 8;

/// Seconds of each measurement at least.
const SECONDS: f64 = 1.0;

/// Stored bytes that measurements from memory hold at most.
const HELD_BYTES: u64 = 1 << 28;

/// Linux counts a process's time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What was measured. Rates are of volumes, by one thread unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedBench {
    /// Volumes of the dataset.
    pub volumes: usize,
    /// Codecs of its shards.
    pub codecs: Vec<&'static str>,
    /// Bytes of a cell.
    pub cell_bytes: usize,
    /// Stored bytes of a cell, on average.
    pub stored_bytes: f64,
    /// Reads of stored bytes, each second.
    pub pread_per_second: f64,
    /// Copies of cells in memory, each second.
    pub memcpy_per_second: f64,
    /// Cells decoded from memory, each second; copies, where they are stored as they are.
    pub decode_per_second: f64,
    /// Seconds to open the dataset with its places and texts.
    pub open_seconds: f64,
    /// Seconds to the first 8 volumes from then on.
    pub first_batch_seconds: f64,
    /// The feed's reads.
    pub reads: Vec<Reads>,
}

/// The feed's reads by so many threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reads {
    /// Threads.
    pub threads: usize,
    /// Volumes each second, by all of them.
    pub per_second: f64,
    /// Bytes of cells each second, in GB.
    pub gb_per_second: f64,
    /// Processor time of a volume in ms.
    pub cpu_ms: f64,
    /// The rate as a share of the limit: decoding from memory, or reading where cells are stored as they are, by as many threads.
    pub of_limit: f64,
}

/// Measures a dataset's reads by each of these numbers of threads.
///
/// # Errors
/// A dataset without volumes or one that does not read; a number of threads that the machine does not give.
pub fn feed(root: &Path, threads: &BTreeSet<usize>) -> Result<FeedBench, PrepareError> {
    let most = threads.last().copied().unwrap_or(0);
    if threads.contains(&0) || require_threads(most).is_err() {
        let expected = "numbers of threads that the machine gives".into();
        return Err(PrepareError::Config { key: "--threads".into(), expected, found: most.to_string() });
    }
    let watch = Stopwatch::start();
    let dataset = Dataset::open(root)?;
    let mut places = dataset.places()?.all().to_vec();
    dataset.texts()?;
    let open_seconds = watch.seconds();
    if places.is_empty() {
        let hint = "prepare a dataset with volumes".into();
        return Err(PrepareError::Output { path: root.to_owned(), problem: "holds no volume".into(), hint });
    }
    // Ids are hashes, so that shards and rows come in any order.
    places.sort_by_key(|place| place.volume);
    let cell_bytes = dataset.voxels().cell_bytes();
    let mut cell = vec![0; cell_bytes];
    let watch = Stopwatch::start();
    for place in places.iter().cycle().take(FIRST_BATCH) {
        dataset.read_cell(place.volume, &mut cell)?;
    }
    let first_batch_seconds = watch.seconds();

    // The limits, of what was read once and is in the system's cache where it fits.
    let shards = dataset.volume_shards().map(|shard| Ok(PositionedFile::open(shard?.path())?));
    let shards = shards.collect::<Result<Vec<_>, ShardError>>()?;
    let stored = |place: &Place, buffer: &mut Vec<u8>| -> Result<(), PrepareError> {
        let range = place.offset..place.offset + u64::from(place.length);
        Ok(shards[place.shard as usize].read(range, buffer).map_err(ShardError::from)?)
    };
    let (mut buffer, mut held, mut bytes) = (Vec::new(), Vec::new(), 0);
    for place in &places {
        stored(place, &mut buffer)?;
        if bytes < HELD_BYTES {
            bytes += u64::from(place.length);
            held.push((dataset.places()?.codec(place.shard as usize), buffer.clone()));
        }
    }
    let pread_per_second = rate(&places, |place| stored(place, &mut buffer))?;
    let source = vec![1; cell_bytes];
    let memcpy_per_second = rate(&[()], |()| {
        cell.copy_from_slice(std::hint::black_box(&source));
        Ok(())
    })?;
    let decode_per_second = rate(&held, |(codec, stored)| {
        let words = |words: String| PrepareError::Output {
            path: root.to_owned(),
            problem: format!("holds a volume that does not decode: {words}"),
            hint: "med2e3-data verify names it".into(),
        };
        decode(*codec, stored, &mut cell).map(|_| ()).map_err(words)
    })?;
    let codecs: BTreeSet<&str> = held.iter().map(|(codec, _)| codec.as_str()).collect();
    let limit = if codecs.len() == 1 && codecs.contains("none") { pread_per_second } else { decode_per_second };

    let mut reads = Vec::new();
    for &threads in threads {
        reads.push(by_threads(&dataset, &places, cell_bytes, threads, limit)?);
    }
    Ok(FeedBench {
        volumes: places.len(),
        codecs: codecs.into_iter().collect(),
        cell_bytes,
        stored_bytes: places.iter().map(|place| f64::from(place.length)).sum::<f64>() / places.len() as f64,
        pread_per_second,
        memcpy_per_second,
        decode_per_second,
        open_seconds,
        first_batch_seconds,
        reads,
    })
}

/// How many of these are done each second, one after another and again.
fn rate<T>(items: &[T], mut work: impl FnMut(&T) -> Result<(), PrepareError>) -> Result<f64, PrepareError> {
    let (watch, mut done) = (Stopwatch::start(), 0);
    for item in items.iter().cycle() {
        work(item)?;
        done += 1;
        if watch.seconds() >= SECONDS {
            break;
        }
    }
    Ok(f64::from(done) / watch.seconds())
}

fn by_threads(
    dataset: &Dataset,
    places: &[Place],
    cell_bytes: usize,
    threads: usize,
    limit: f64,
) -> Result<Reads, PrepareError> {
    let (watch, cpu, next) = (Stopwatch::start(), cpu_seconds(), AtomicUsize::new(0));
    let work = || -> Result<usize, ShardError> {
        // As many slots as a batch has.
        let mut slots = vec![0; FIRST_BATCH * cell_bytes];
        let mut done = 0;
        while watch.seconds() < SECONDS {
            for slot in slots.chunks_exact_mut(cell_bytes) {
                let place = &places[next.fetch_add(1, Ordering::Relaxed) % places.len()];
                dataset.read_cell(place.volume, slot)?;
                done += 1;
            }
        }
        Ok(done)
    };
    let done: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = all.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.sum::<Result<usize, ShardError>>()
    })?;
    let per_second = done as f64 / watch.seconds();
    Ok(Reads {
        threads,
        per_second,
        gb_per_second: per_second * cell_bytes as f64 / 1e9,
        cpu_ms: 1e3 * (cpu_seconds() - cpu) / done as f64,
        of_limit: per_second / (limit * threads as f64),
    })
}

/// Processor time that the process took so far, in steps of 10 ms; 0 where the system does not say.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the program's name, which may hold blanks: the 12th and 13th are the time of its own and in the system.
    let numbers = stat.rsplit_once(')').map_or("", |(_, numbers)| numbers).split_whitespace();
    numbers.skip(11).take(2).filter_map(|number| number.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// As a table.
pub fn to_text(bench: &FeedBench) -> String {
    let FeedBench { volumes, codecs, cell_bytes, stored_bytes, .. } = bench;
    let mut text = format!(
        "{volumes} volumes of {:.2} MB, stored in {:.2} MB as {}\n",
        *cell_bytes as f64 / 1e6,
        stored_bytes / 1e6,
        codecs.join(" and ")
    );
    let mut line = |what: &str, rate: f64, bytes: f64| {
        let _ = writeln!(text, "{what:<24} {rate:>10.0} volumes/s {:>8.2} GB/s", rate * bytes / 1e9);
    };
    let cell = *cell_bytes as f64;
    line("limit: pread", bench.pread_per_second, *stored_bytes);
    line("limit: memcpy", bench.memcpy_per_second, cell);
    line("limit: decoding", bench.decode_per_second, cell);
    for Reads { threads, per_second, gb_per_second, cpu_ms, of_limit } in &bench.reads {
        let _ = writeln!(
            text,
            "{:<24} {per_second:>10.0} volumes/s {gb_per_second:>8.2} GB/s {cpu_ms:>8.2} CPU ms each {:>5.0} % of the limit",
            format!("feed, {threads} thread{}", if *threads == 1 { "" } else { "s" }),
            100.0 * of_limit
        );
    }
    let _ = writeln!(
        text,
        "opened in {:.0} ms, the first {FIRST_BATCH} volumes {:.0} ms later",
        1e3 * bench.open_seconds,
        1e3 * bench.first_batch_seconds
    );
    text
}
