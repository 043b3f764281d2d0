//! What a step puts through the model, and how fast and in how much memory that is done.

use med2e3_feed::HostBatch;
use med2e3_schemas::report::StepWork;
use tch::Device;

use crate::TrainerError;
use crate::libtorch::{MemoryCounter, device_memory, reset_device_peak};
use crate::model::Med2e3Config;
use crate::model::splice::Splice;
use crate::plan::flops::{ModuleFlops, of_micro_batch};
use crate::plan::learning::Learning;
use crate::plan::{MicroBatch, Policy};

/// What micro-batches put through the model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    texts: u64,
    tokens: u64,
    /// The tokens with padding.
    computed: u64,
    volumes: u64,
    /// FLOPs without padding and recomputation.
    model_flops: f64,
    /// FLOPs with both.
    hardware_flops: f64,
}

impl Work {
    /// Adds another micro-batch's.
    pub(super) fn add(&mut self, other: &Work) {
        self.texts += other.texts;
        self.tokens += other.tokens;
        self.computed += other.computed;
        self.volumes += other.volumes;
        self.model_flops += other.model_flops;
        self.hardware_flops += other.hardware_flops;
    }
}

/// What the work of a run is counted by.
pub(super) struct Costs {
    /// The model's sizes, adapters included.
    pub(super) sizes: Med2e3Config,
    /// Which weights learn.
    pub(super) learning: Learning,
    /// What is computed again.
    pub(super) policy: Policy,
    /// FLOPs a second that the device reaches at most, where that is known.
    pub(super) peak: Option<f64>,
}

impl Costs {
    /// The work of a micro-batch.
    pub(super) fn of(&self, batch: &HostBatch, splice: &Splice) -> Work {
        let (volumes, targets) = (batch.volume_ids.len() as f64, splice.target_ids.len());
        let own = MicroBatch { rows: splice.lengths.clone(), volumes, targets, question_tokens: batch.question_width };
        let padded = MicroBatch { rows: vec![splice.width; splice.lengths.len()], ..own.clone() };
        let flops = |batch: &MicroBatch, of: fn(&ModuleFlops) -> f64| {
            of_micro_batch(&self.sizes, &self.learning, batch, &self.policy).iter().map(of).sum::<f64>()
        };
        Work {
            texts: batch.len() as u64,
            tokens: own.tokens() as u64,
            computed: padded.tokens() as u64,
            volumes: batch.volume_ids.len() as u64,
            model_flops: flops(&own, |module| module.forward.total() + module.backward.total()),
            hardware_flops: flops(&padded, |module| {
                module.forward.total() + module.backward.total() + module.again.total()
            }),
        }
    }

    /// A step's work as it is logged.
    pub(super) fn logged(&self, work: &Work, seconds: f64, wait_seconds: f64, peak_bytes: Option<u64>) -> StepWork {
        // A clock may stand still over a step that does next to nothing.
        let per_second = |count: f64| count / seconds.max(1e-9);
        let share = |flops: f64| self.peak.map(|peak| per_second(flops) / peak);
        StepWork {
            texts: work.texts,
            tokens: work.tokens,
            volumes: work.volumes,
            padding_share: (work.computed - work.tokens) as f64 / work.computed.max(1) as f64,
            texts_per_second: per_second(work.texts as f64),
            tokens_per_second: per_second(work.tokens as f64),
            volumes_per_second: per_second(work.volumes as f64),
            wait_share: (wait_seconds / seconds.max(1e-9)).min(1.0),
            mfu: share(work.model_flops),
            hfu: share(work.hardware_flops),
            peak_bytes,
        }
    }
}

/// The most bytes that tensors hold on a device, step by step.
pub(super) enum PeakMemory {
    /// Of the CPU: those of the training thread and its backward passes.
    Counted(MemoryCounter),
    /// Of a GPU, by its allocator.
    Allocator(Device),
    /// Nothing counts them: on the CPU libtorch has one observer of a thread, which a trace takes.
    Unknown,
}

impl PeakMemory {
    /// Counts from now on. On the CPU only what is made from now on is counted, so this comes before the model.
    ///
    /// # Errors
    /// The system gives no memory; the device can't be asked.
    pub(super) fn start(device: Device, is_traced: bool) -> Result<PeakMemory, TrainerError> {
        if device.is_cuda() {
            reset_device_peak(device)?;
            return Ok(PeakMemory::Allocator(device));
        }
        Ok(if is_traced { PeakMemory::Unknown } else { PeakMemory::Counted(MemoryCounter::start()?) })
    }

    /// The peak since the last call, or since the start; waits for nothing.
    ///
    /// # Errors
    /// The device can't be asked.
    pub(super) fn take(&mut self) -> Result<Option<u64>, TrainerError> {
        let bytes = match self {
            PeakMemory::Counted(counter) => {
                let peak = counter.read().peak;
                counter.reset_peak();
                peak
            }
            PeakMemory::Allocator(device) => {
                let peak = device_memory(*device)?.allocated_peak;
                reset_device_peak(*device)?;
                peak
            }
            PeakMemory::Unknown => return Ok(None),
        };
        Ok(u64::try_from(bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recompute::Recompute;
    use crate::model::{Part, Preset};
    use med2e3_feed::step_plan::PlannedText;
    use med2e3_feed::{QuestionForm, TextForm, TextLayout};
    use med2e3_schemas::Id;
    use med2e3_schemas::sample::{IMAGE3D, SampleRow};
    use med2e3_shards::Samples;
    use tch::{Kind, Tensor};

    /// Texts of 5 and 3 tokens of their own about one volume each.
    fn batch() -> HostBatch {
        let row = |count: i32, volume: &str| SampleRow {
            question_ids_llm: vec![1, 2],
            ..SampleRow::of_ids(
                Id::of_volume("sample"),
                vec![Id::of_volume(volume)],
                std::iter::once(IMAGE3D).chain(0..count).collect(),
                vec![(count as u32, count as u32 + 1)],
            )
        };
        let planned = [0, 1].map(|position| PlannedText { position, target_weight: 0.5 });
        let layout = TextLayout { form: TextForm::Conversation, question: QuestionForm::Llm };
        let mut batch = HostBatch::default();
        let samples = Samples::of_rows(&[row(5, "a"), row(3, "b")]);
        batch.lay_out(&samples, &planned, layout, 1).unwrap();
        batch
    }

    #[test]
    fn a_steps_work_is_what_was_planned_of_it() {
        let sizes = Med2e3Config::of_preset(Preset::Paper);
        let learning = Learning::of_parts(&[Part::Llm, Part::Vision2dModel], false);
        let (batch, visual) = (batch(), sizes.visual_token_count() as usize);
        let ids: Vec<&[i64]> = batch.texts().map(|text| text.ids).collect();
        let labels: Vec<&[i64]> = batch.texts().map(|text| text.labels).collect();
        let splice = Splice::plan_wide(&ids, &labels, visual, usize::MAX, 64);
        let width = (visual + 5).next_multiple_of(64);
        let costs =
            |recompute| Costs { sizes: sizes.clone(), learning, policy: Policy::all(recompute), peak: Some(1e15) };
        let (kept, again) = (costs(Recompute::None).of(&batch, &splice), costs(Recompute::Full).of(&batch, &splice));
        assert_eq!((kept.texts, kept.volumes, kept.tokens), (2, 2, 2 * visual as u64 + 8));
        assert_eq!(kept.computed, 2 * width as u64);
        let planned = |rows: Vec<usize>, recompute| {
            let micro_batch = MicroBatch { rows, volumes: 2.0, targets: 2, question_tokens: 2 };
            of_micro_batch(&sizes, &learning, &micro_batch, &Policy::all(recompute))
                .iter()
                .map(|module| module.forward.total() + module.backward.total() + module.again.total())
                .sum::<f64>()
        };
        assert_eq!(kept.model_flops, planned(vec![visual + 5, visual + 3], Recompute::None));
        assert_eq!(kept.model_flops, again.model_flops);
        assert_eq!(kept.hardware_flops, planned(vec![width; 2], Recompute::None));
        assert_eq!(again.hardware_flops, planned(vec![width; 2], Recompute::Full));
        assert!(again.hardware_flops > kept.hardware_flops && kept.hardware_flops > kept.model_flops);

        let mut twice = kept;
        twice.add(&kept);
        let logged = costs(Recompute::None).logged(&twice, 2.0, 0.5, Some(7));
        assert_eq!((logged.texts, logged.texts_per_second, logged.volumes_per_second), (4, 2.0, 2.0));
        assert_eq!((logged.tokens_per_second, logged.wait_share), (kept.tokens as f64, 0.25));
        assert_eq!(logged.padding_share, (kept.computed - kept.tokens) as f64 / kept.computed as f64);
        // Of a step that is left out nothing is computed.
        assert_eq!(costs(Recompute::None).logged(&Work::default(), 1.0, 1.0, None).padding_share, 0.0);
        assert_eq!((logged.mfu, logged.hfu), (Some(kept.model_flops / 1e15), Some(kept.hardware_flops / 1e15)));
        assert_eq!(logged.peak_bytes, Some(7));
        let unknown = Costs { peak: None, ..costs(Recompute::None) }.logged(&twice, 0.0, 0.0, None);
        assert!(unknown.mfu.is_none() && unknown.hfu.is_none() && unknown.texts_per_second.is_finite());
    }

    #[test]
    fn a_steps_peak_is_its_own() {
        let mut memory = PeakMemory::start(Device::Cpu, false).unwrap();
        let held = Tensor::zeros([1024], (Kind::Float, Device::Cpu));
        drop(Tensor::zeros([4096], (Kind::Float, Device::Cpu)));
        assert_eq!(memory.take().unwrap(), Some(5 * 4096));
        assert_eq!(memory.take().unwrap(), Some(4096));
        drop(held);
        assert_eq!(PeakMemory::start(Device::Cpu, true).unwrap().take().unwrap(), None);
    }
}
