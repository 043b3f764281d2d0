//! One step, recorded by libtorch's profiler: what takes the time, and when the device does nothing.

use std::collections::BTreeMap;
use std::path::Path;

use med2e3_store::FileError;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::learner::Learner;
use super::texts::HostMicroBatch;
use crate::TrainerError;
use crate::device::wait;
use crate::libtorch::Trace;

/// Lines of a table.
const MOST: usize = 12;

/// What a step spent its time with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traced {
    /// `kernels` of a GPU, or `operators` of the CPU, where an operator's time is its own, without those that it calls.
    pub of: &'static str,
    /// From the first to the last of them.
    pub seconds: f64,
    /// Share of that in which none ran.
    pub idle_share: f64,
    /// Names with seconds and calls, the longest first.
    pub longest: Vec<(String, f64, u64)>,
}

/// Records one step and writes its trace.
pub(super) fn step(
    learner: &mut Learner,
    batches: &[HostMicroBatch],
    device: Device,
    path: &Path,
) -> Result<Traced, TrainerError> {
    wait(device);
    let trace = Trace::start(device)?;
    learner.step(batches, 1 << 20)?;
    wait(device);
    trace.write(path)?;
    let text = std::fs::read_to_string(path).map_err(FileError::of(path, "read"))?;
    let file: File = serde_json::from_str(&text).map_err(|error| TrainerError::File {
        path: path.to_owned(),
        expected: "a trace of libtorch's profiler".into(),
        found: error.to_string(),
    })?;
    Ok(summary(&file.events, device.is_cuda()))
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "traceEvents")]
    events: Vec<Event>,
}

/// One entry of the trace; times are in microseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Event {
    cat: String,
    name: String,
    ts: f64,
    dur: f64,
    tid: serde_json::Value,
}

fn summary(events: &[Event], is_gpu: bool) -> Traced {
    let is_wanted = |event: &&Event| match is_gpu {
        true => matches!(event.cat.as_str(), "kernel" | "gpu_memcpy" | "gpu_memset"),
        false => event.cat == "cpu_op",
    };
    let mut wanted: Vec<&Event> = events.iter().filter(is_wanted).collect();
    // An operator that calls others begins with the first of them, or before it.
    wanted.sort_by(|a, b| a.ts.total_cmp(&b.ts).then(b.dur.total_cmp(&a.dur)));
    let (first, last) = wanted
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(first, last), event| (first.min(event.ts), last.max(event.ts + event.dur)));
    let span = (last - first).max(f64::MIN_POSITIVE);
    let own = if is_gpu { wanted.iter().map(|event| event.dur).collect() } else { own_times(&wanted) };
    let mut by_name: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
    for (event, time) in wanted.iter().zip(own) {
        let sum = by_name.entry(&event.name).or_default();
        *sum = (sum.0 + time, sum.1 + 1);
    }
    let seconds = |(name, (time, calls)): (&str, (f64, u64))| (name.to_owned(), 1e-6 * time, calls);
    let mut longest: Vec<(String, f64, u64)> = by_name.into_iter().map(seconds).collect();
    longest.sort_by(|a, b| b.1.total_cmp(&a.1));
    longest.truncate(MOST);
    let of = if is_gpu { "kernels" } else { "operators" };
    let seconds = if wanted.is_empty() { 0.0 } else { 1e-6 * span };
    Traced { of, seconds, idle_share: 1.0 - busy(&wanted) / span, longest }
}

/// Microseconds in which one or more of the events ran; they are sorted by their start.
fn busy(events: &[&Event]) -> f64 {
    let (mut sum, mut end) = (0.0, f64::NEG_INFINITY);
    for event in events {
        let stop = event.ts + event.dur;
        sum += (stop - event.ts.max(end)).max(0.0);
        end = end.max(stop);
    }
    sum
}

/// Each event's time without that of the events within it on its thread.
fn own_times(events: &[&Event]) -> Vec<f64> {
    let mut own: Vec<f64> = events.iter().map(|event| event.dur).collect();
    let mut open: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        let around = open.entry(event.tid.to_string()).or_default();
        while around.last().is_some_and(|outer| events[*outer].ts + events[*outer].dur <= event.ts) {
            around.pop();
        }
        if let Some(outer) = around.last() {
            own[*outer] -= event.dur;
        }
        around.push(place);
    }
    own
}

impl Traced {
    /// Names and values of a table's rows.
    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let idle = format!("{:.1} % of {:.3} s without {}", 100.0 * self.idle_share, self.seconds, self.of);
        let line = |(name, seconds, calls): &(String, f64, u64)| {
            let short: String = name.chars().take(80).collect();
            (String::new(), format!("{:>8.2} ms {calls:>6} x  {short}", 1e3 * seconds))
        };
        std::iter::once(("traced step".to_owned(), idle)).chain(self.longest.iter().map(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cat: &str, name: &str, ts: f64, dur: f64) -> Event {
        Event { cat: cat.into(), name: name.into(), ts, dur, tid: 1.into() }
    }

    #[test]
    fn gaps_between_kernels_are_counted_once() {
        let events = [
            event("kernel", "a", 0.0, 10.0),
            event("kernel", "b", 5.0, 10.0),
            event("gpu_memcpy", "copy", 20.0, 5.0),
            event("cpu_op", "aten::mm", 0.0, 100.0),
        ];
        let found = summary(&events, true);
        assert_eq!(found.of, "kernels");
        assert!((found.seconds - 25e-6).abs() < 1e-15);
        assert!((found.idle_share - 0.2).abs() < 1e-12);
        assert_eq!(found.longest.len(), 3);
    }

    #[test]
    fn an_operators_own_time_leaves_those_that_it_calls_out() {
        let events = [
            event("cpu_op", "linear", 0.0, 10.0),
            event("cpu_op", "mm", 1.0, 6.0),
            event("cpu_op", "copy", 2.0, 1.0),
            event("cpu_op", "mm", 8.0, 1.0),
            event("cpu_op", "linear", 12.0, 4.0),
        ];
        let found = summary(&events, false);
        let of = |name: &str| found.longest.iter().find(|(own, ..)| own == name).unwrap();
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
        assert!(near(of("linear").1, 7e-6) && near(of("mm").1, 6e-6) && near(of("copy").1, 1e-6));
        assert_eq!((of("linear").2, of("mm").2), (2, 2));
        assert!(near(found.idle_share, 2.0 / 16.0));
        assert_eq!(summary(&[], false).seconds, 0.0);
    }
}
