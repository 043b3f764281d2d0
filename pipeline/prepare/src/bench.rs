//! `bench feed`: how fast a dataset is fed to a training, beside what the machine gives for these very bytes.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use med2e3_feed::feed::HELD;
use med2e3_feed::step_plan::PlannedText;
use med2e3_feed::{Feed, FeedError, FeedPlan, HostBatch, Order, QuestionForm, Tail, TextForm, TextLayout};
use med2e3_program::Stopwatch;
use med2e3_program::machine::require_threads;
use med2e3_schemas::sample::{IMAGE3D, SampleRow, Split, Task};
use med2e3_shards::cell::decode;
use med2e3_shards::{Dataset, Place, Samples, Selection, ShardError};
use med2e3_store::PositionedFile;
use serde::Serialize;

use crate::PrepareError;

/// Texts of a batch, each of a volume of its own.
const BATCH: usize = 8;

/// Batches that are made ahead.
const DEPTH: usize = 4;

/// Seconds of each measurement at least.
const SECONDS: f64 = 1.0;

/// Stored bytes that measurements from memory hold at most.
const HELD_BYTES: u64 = 1 << 28;

/// Linux counts a process's time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Texts that an H100 is computed to train a second at published size: three times 11 TFLOP each at 45 % of its peak.
const TRAINED_PER_SECOND: f64 = 13.0;

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
    /// Whether all but the other limits was read from the disk rather than from the system's cache.
    pub is_cold: bool,
    /// Reads of stored bytes in any order, each second.
    pub pread_per_second: f64,
    /// Copies of cells in memory, each second.
    pub memcpy_per_second: f64,
    /// Cells decoded from memory, each second; copies, where they are stored as they are.
    pub decode_per_second: f64,
    /// Seconds to open the dataset with what it keeps for the feed.
    pub open_seconds: f64,
    /// Seconds from then on to the first batch, by the smallest number of threads.
    pub first_batch_seconds: f64,
    /// Seconds to lay out a text of the training split; none where there are no texts.
    pub text_seconds: Option<f64>,
    /// The feed.
    pub reads: Vec<Reads>,
}

/// The feed by so many readers; a thread more plans and lays out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reads {
    /// Readers.
    pub threads: usize,
    /// Volumes each second, by all of them.
    pub per_second: f64,
    /// Bytes of cells each second, in GB.
    pub gb_per_second: f64,
    /// Processor time of a volume in ms.
    pub cpu_ms: f64,
    /// Memory of the process that no file backs, its blocks included, in MiB.
    pub anonymous_mib: f64,
    /// The rate as a share of the limit: decoding from memory, or reading where cells are stored as they are, by as many threads;
    /// from the disk the smaller of both, where one thread's reads count.
    pub of_limit: f64,
}

/// From where volumes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The system's cache, as far as they fit.
    Cache,
    /// The disk: the system is told to forget each shard before a measurement.
    Disk,
}

/// Measures a dataset's feed by each of these numbers of readers: a text of each volume of the training split, or, in a dataset
/// without one, a made-up text of each volume.
///
/// # Errors
/// A dataset without volumes or one that does not read; a number of threads that the machine does not give.
pub fn feed(root: &Path, threads: &BTreeSet<usize>, from: From) -> Result<FeedBench, PrepareError> {
    let most = threads.last().copied().unwrap_or(0);
    if threads.contains(&0) || require_threads(most).is_err() {
        let expected = "numbers of threads that the machine gives".into();
        return Err(PrepareError::Config { key: "--threads".into(), expected, found: most.to_string() });
    }
    let watch = Stopwatch::start();
    let dataset = Arc::new(Dataset::open(root)?);
    let mut places = dataset.places()?.all().to_vec();
    let open_seconds = watch.seconds();
    if places.is_empty() {
        let hint = "prepare a dataset with volumes".into();
        return Err(PrepareError::Output { path: root.to_owned(), problem: "holds no volume".into(), hint });
    }
    // Ids are hashes, so that shards and rows come in any order.
    places.sort_by_key(|place| place.volume);
    let cell_bytes = dataset.voxels().cell_bytes();
    let most_stored = places.iter().map(|place| place.length as usize).max().unwrap_or(0);
    let shards = dataset.index().volumes.iter().map(|entry| PositionedFile::open(&root.join(&entry.path)));
    let shards = shards.collect::<Result<Vec<_>, _>>().map_err(ShardError::from)?;
    let forget = || {
        if from == From::Disk {
            shards.iter().for_each(PositionedFile::forget);
        }
    };
    forget();
    let own = training(&dataset);
    let samples = Arc::new(own.as_ref().map_or_else(|| made_up(&places), a_text_a_volume));
    let watch = Stopwatch::start();
    start(&dataset, &samples, threads.first().copied().unwrap_or(1))?
        .next_batch()
        .transpose()
        .map_err(of_feed(root))?;
    let first_batch_seconds = watch.seconds();

    let stored = |place: &Place, buffer: &mut Vec<u8>| -> Result<(), PrepareError> {
        let range = place.offset..place.offset + u64::from(place.length);
        Ok(shards[place.shard as usize].read(range, buffer).map_err(ShardError::from)?)
    };
    let mut buffer = Vec::new();
    for place in places.iter().filter(|_| from == From::Cache) {
        stored(place, &mut buffer)?;
    }
    // Before the limits, which hold more memory than the feed.
    let mut reads = Vec::new();
    for &threads in threads {
        forget();
        let once = (from == From::Disk).then_some(samples.len());
        reads.push(fed(start(&dataset, &samples, threads)?, threads, once).map_err(of_feed(root))?);
    }

    forget();
    let mut room = Room::new(cell_bytes.max(most_stored));
    let read = |place: &Place| -> Result<(), PrepareError> {
        let slot = &mut room.next()[..place.length as usize];
        Ok(shards[place.shard as usize].read_at(place.offset, slot).map_err(ShardError::from)?)
    };
    let pread_per_second = match from {
        From::Cache => rate(places.iter().cycle(), read)?,
        // Once each: the second time they would be in the cache.
        From::Disk => rate(places.iter(), read)?,
    };
    let source = vec![1; cell_bytes];
    let memcpy_per_second = rate(std::iter::repeat(()), |()| {
        room.next()[..cell_bytes].copy_from_slice(std::hint::black_box(&source));
        Ok(())
    })?;
    let (mut held, mut bytes) = (Vec::new(), 0);
    for place in &places {
        if bytes >= HELD_BYTES {
            break;
        }
        stored(place, &mut buffer)?;
        bytes += u64::from(place.length);
        held.push((dataset.places()?.codec(place.shard as usize), buffer.clone()));
    }
    let decode_per_second = rate(held.iter().cycle(), |(codec, stored)| {
        let words = |words: String| PrepareError::Output {
            path: root.to_owned(),
            problem: format!("holds a volume that does not decode: {words}"),
            hint: "med2e3-data verify names it".into(),
        };
        decode(*codec, stored, &mut room.next()[..cell_bytes]).map(|_| ()).map_err(words)
    })?;
    let codecs: BTreeSet<&str> = held.iter().map(|(codec, _)| codec.as_str()).collect();
    let is_plain = codecs.len() == 1 && codecs.contains("none");
    for reads in &mut reads {
        let decoding = reads.threads as f64 * decode_per_second;
        let limit = match from {
            From::Cache if is_plain => reads.threads as f64 * pread_per_second,
            From::Cache => decoding,
            // A disk reads no faster for more threads.
            From::Disk => decoding.min(pread_per_second),
        };
        reads.of_limit = reads.per_second / limit;
    }
    Ok(FeedBench {
        volumes: places.len(),
        codecs: codecs.into_iter().collect(),
        cell_bytes,
        stored_bytes: places.iter().map(|place| f64::from(place.length)).sum::<f64>() / places.len() as f64,
        is_cold: from == From::Disk,
        pread_per_second,
        memcpy_per_second,
        decode_per_second,
        open_seconds,
        first_batch_seconds,
        text_seconds: own.map(|own| text_seconds(&own)).transpose().map_err(of_feed(root))?,
        reads,
    })
}

/// The samples of the training split; `None` of a dataset without any.
fn training(dataset: &Dataset) -> Option<Samples> {
    dataset.select(&Selection { split: Split::Train, tasks: Task::ALL.to_vec(), subset: None }).ok()
}

/// The first text of each volume: so each volume is read once an epoch.
fn a_text_a_volume(samples: &Samples) -> Samples {
    let mut seen = HashSet::new();
    samples.picked((0..samples.len()).filter(|at| samples.first_volume(*at).is_some_and(|volume| seen.insert(volume))))
}

/// A short text of each volume.
fn made_up(places: &[Place]) -> Samples {
    let row = |place: &Place| SampleRow::of_ids(place.volume, vec![place.volume], vec![IMAGE3D, 1, 2], vec![(2, 3)]);
    Samples::of_rows(&places.iter().map(row).collect::<Vec<_>>())
}

fn of_feed(root: &Path) -> impl Fn(FeedError) -> PrepareError {
    move |problem| match problem {
        FeedError::Shard(problem) => problem.into(),
        other => PrepareError::Output {
            path: root.to_owned(),
            problem: format!("can't be fed: {other}"),
            hint: "med2e3-data verify names what is wrong".into(),
        },
    }
}

fn start(dataset: &Arc<Dataset>, samples: &Arc<Samples>, readers: usize) -> Result<Feed, PrepareError> {
    let plan = FeedPlan {
        order: Order::Shuffled { seed: 0 },
        tail: Tail::Straddle,
        epochs: 1 << 24,
        readers,
        depth: DEPTH,
        ..FeedPlan::one_pass(TextForm::Conversation, QuestionForm::Llm, BATCH)
    };
    Feed::start(dataset.clone(), samples.clone(), plan).map_err(of_feed(dataset.root()))
}

/// As much memory as a feed's batches, a cell after the other: what would stay in a processor's cache is no place for batches.
struct Room {
    bytes: Vec<u8>,
    cell_bytes: usize,
    turn: usize,
}

impl Room {
    fn new(cell_bytes: usize) -> Room {
        Room { bytes: vec![0; (DEPTH + HELD) * BATCH * cell_bytes], cell_bytes, turn: 0 }
    }

    /// The next cell, and behind the last one the first again.
    fn next(&mut self) -> &mut [u8] {
        let start = self.turn * self.cell_bytes;
        self.turn = (self.turn + 1) % ((DEPTH + HELD) * BATCH);
        &mut self.bytes[start..start + self.cell_bytes]
    }
}

/// How many of these are done each second, one after another.
fn rate<T>(
    items: impl Iterator<Item = T>,
    mut work: impl FnMut(T) -> Result<(), PrepareError>,
) -> Result<f64, PrepareError> {
    let (watch, mut done) = (Stopwatch::start(), 0);
    for item in items {
        work(item)?;
        done += 1;
        if watch.seconds() >= SECONDS {
            break;
        }
    }
    Ok(f64::from(done) / watch.seconds())
}

/// What a feed brings in a second, or of so many volumes; the limit is yet to be known.
fn fed(mut feed: Feed, threads: usize, volumes: Option<usize>) -> Result<Reads, FeedError> {
    // The batches' memory is touched first, and is what a run has to itself from then on.
    for _ in (0..DEPTH + HELD).filter(|_| volumes.is_none()) {
        feed.next_batch().transpose()?;
    }
    let (watch, cpu, mut done, mut bytes) = (Stopwatch::start(), cpu_seconds(), 0, 0);
    while watch.seconds() < SECONDS && volumes.is_none_or(|volumes| done < volumes) {
        let Some(batch) = feed.next_batch() else { break };
        let batch = batch?;
        done += batch.volume_ids.len();
        bytes += batch.voxels.len();
    }
    let seconds = watch.seconds();
    Ok(Reads {
        threads,
        per_second: done as f64 / seconds,
        gb_per_second: bytes as f64 / seconds / 1e9,
        cpu_ms: 1e3 * (cpu_seconds() - cpu) / done as f64,
        anonymous_mib: anonymous_mib(),
        of_limit: f64::NAN,
    })
}

/// Seconds to lay out a text, as the feed does.
fn text_seconds(samples: &Samples) -> Result<f64, FeedError> {
    let layout = TextLayout { form: TextForm::Conversation, question: QuestionForm::Llm };
    let (mut batch, mut planned, mut done) = (HostBatch::default(), Vec::new(), 0);
    let watch = Stopwatch::start();
    while watch.seconds() < SECONDS {
        planned.clear();
        let positions = (done..done + BATCH).map(|at| (at % samples.len()) as u32);
        planned.extend(positions.map(|position| PlannedText { position, target_weight: 1.0 }));
        batch.lay_out(samples, &planned, layout, 0)?;
        done += BATCH;
    }
    Ok(watch.seconds() / done as f64)
}

/// Memory of the process that no file backs; 0 where the system does not say.
fn anonymous_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
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
    let FeedBench { volumes, codecs, cell_bytes, stored_bytes, is_cold, .. } = bench;
    let mut text = format!(
        "{volumes} volumes of {:.2} MB, stored in {:.2} MB as {}, read from the {}\n",
        *cell_bytes as f64 / 1e6,
        stored_bytes / 1e6,
        codecs.join(" and "),
        if *is_cold { "disk" } else { "system's cache, where they fit" }
    );
    let mut line = |what: &str, rate: f64, bytes: f64| {
        let _ = writeln!(text, "{what:<24} {rate:>10.0} volumes/s {:>8.2} GB/s", rate * bytes / 1e9);
    };
    let cell = *cell_bytes as f64;
    line("limit: pread", bench.pread_per_second, *stored_bytes);
    line("limit: memcpy", bench.memcpy_per_second, cell);
    line("limit: decoding", bench.decode_per_second, cell);
    for Reads { threads, per_second, gb_per_second, cpu_ms, anonymous_mib, of_limit } in &bench.reads {
        let _ = writeln!(
            text,
            "{:<24} {per_second:>10.0} volumes/s {gb_per_second:>8.2} GB/s {cpu_ms:>8.2} CPU ms each, {:.0} % of the limit, \
             {anonymous_mib:.0} MiB",
            format!("feed, {threads} reader{}", if *threads == 1 { "" } else { "s" }),
            100.0 * of_limit
        );
    }
    let _ = writeln!(
        text,
        "opened in {:.0} ms, the first {BATCH} volumes {:.0} ms later{}",
        1e3 * bench.open_seconds,
        1e3 * bench.first_batch_seconds,
        bench.text_seconds.map_or(String::new(), |seconds| format!("; {:.1} us to lay out a text", 1e6 * seconds))
    );
    if let Some(reads) = bench.reads.first() {
        let _ = writeln!(
            text,
            "{} reader{}: {:.0} x what an H100 is computed to train at published size ({TRAINED_PER_SECOND} texts/s)",
            reads.threads,
            if reads.threads == 1 { "" } else { "s" },
            reads.per_second / TRAINED_PER_SECOND
        );
    }
    text
}
