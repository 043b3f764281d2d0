//! An estimate for a person: a table, and the few lines that a run begins with.

use super::choice::{Choice, of_policy};
use super::estimate::Estimate;
use super::work::Range;
use crate::words::Word;

impl Estimate {
    /// In ten lines at most.
    pub fn lines(&self) -> Vec<String> {
        let (work, choice, checkpoint) = (&self.work, &self.choice, &self.checkpoint);
        let sum = |of: fn(&super::learning::Weights) -> f64| self.weights.iter().map(of).sum::<f64>();
        let trained: Vec<String> =
            self.weights.iter().map(|group| format!("{} {}", group.group, group.how.as_str())).collect();
        let (shortest, longest) = work.lengths();
        let [at_40, at_50] = self.hours_at.map(|at| duration(3600.0 * at.hours));
        vec![
            format!("weights: {}, {} learn", count(sum(|one| one.count)), count(sum(|one| one.learning))),
            format!("trained: {}", trained.join(", ")),
            format!(
                "texts: {} of {shortest} to {longest} tokens, {} an epoch; padding {:.1} %",
                work.texts,
                count(work.tokens as f64),
                100.0 * work.padding_share
            ),
            format!(
                "steps: {} of {} texts, {} tokens, {:.1} micro-batches and {} FLOP each",
                self.steps,
                self.batch,
                count(work.step_tokens),
                work.step_micro_batches,
                count(self.step_flops)
            ),
            format!(
                "at once: at most {} tokens and {} volumes; computed again: {}",
                at_most(choice.budget.tokens),
                at_most(choice.budget.volumes),
                of_policy(&choice.policy)
            ),
            format!(
                "memory: weights {}, gradients {}, moments {}, activations {}; peak {} of {}",
                bytes(self.states.weights),
                bytes(self.states.gradients),
                bytes(self.states.moments + self.states.remainder),
                bytes(self.activations.peak()),
                bytes(self.peak),
                bytes(self.memory)
            ),
            format!(
                "time: {} on {}; at 40 and 50 % of its peak {at_40} and {at_50}",
                duration(self.seconds),
                self.device
            ),
            format!(
                "disk: {} a checkpoint, {} at a time: {}; free {}",
                bytes(checkpoint.one()),
                checkpoint.at_once,
                bytes(checkpoint.needed(0)),
                self.disk_free.map_or("unknown".into(), |free| bytes(free as f64))
            ),
            format!("snapshot: {}", self.snapshot()),
        ]
    }

    /// What a checkpoint takes of the host's memory on its way to the disk.
    fn snapshot(&self) -> String {
        let taken = self.checkpoint.snapshot();
        let stall = duration(self.snapshot_seconds);
        match self.host_memory {
            Some(memory) if taken > memory as f64 => format!(
                "{}, more than the host's memory of {}: each checkpoint is written without a copy, and training waits",
                bytes(taken),
                bytes(memory as f64)
            ),
            Some(memory) => {
                format!("{} of the host's memory of {}, copied in {stall}", bytes(taken), bytes(memory as f64))
            }
            None => format!("{} of the host's memory, copied in {stall}", bytes(taken)),
        }
    }

    /// As a table.
    pub fn table(&self) -> String {
        let mut text = format!("{:<22}{:>16}{:>16}  {}\n", "weights", "all", "that learn", "trained");
        for group in &self.weights {
            text +=
                &format!("  {:<20}{:>16}{:>16}  {}\n", group.group, group.count, group.learning, group.how.as_str());
        }
        text += &self.texts();
        text += &self.memory_and_steps();
        text += &format!(
            "\n{} steps, {} FLOP: {} on {}, {:.1} % of its peak; validation and checkpoints left out\n",
            self.steps,
            count(self.run_flops),
            duration(self.seconds),
            self.device,
            100.0 * self.utilization
        );
        for at in self.hours_at {
            text += &format!("  at {:.0} % of the peak    {:>12.2} hours\n", 100.0 * at.utilization, at.hours);
        }
        let checkpoint = &self.checkpoint;
        text += &format!(
            "\n{:<22}{:>14}  weights {}, state {}, files {} at most\n",
            "a checkpoint",
            bytes(checkpoint.one()),
            bytes(checkpoint.weights),
            bytes(checkpoint.state),
            bytes(checkpoint.files)
        );
        let free = self.disk_free.map_or("unknown".into(), |free| bytes(free as f64));
        let at_once = format!("  {} at a time", checkpoint.at_once);
        text += &format!("{at_once:<22}{:>14}  of {free} free\n", bytes(checkpoint.needed(0)));
        text + &format!("  snapshot            {}\n", self.snapshot())
    }

    fn texts(&self) -> String {
        let work = &self.work;
        let mut text = format!("\n{:<22}{:>16}{:>16}\n", "tokens of a text", "texts", "%");
        for Range { from, to, texts } in &work.histogram {
            let share = 100.0 * *texts as f64 / work.texts.max(1) as f64;
            text += &format!("  {:<20}{texts:>16}{share:>16.1}\n", format!("{from} to {to}"));
        }
        text += &format!(
            "an epoch              {} texts, {} tokens, {} of them targets\n",
            work.texts, work.tokens, work.targets
        );
        text += &format!(
            "a step                {} texts, {:.0} tokens and {:.1} volumes in {:.1} micro-batches; padding {:.1} % \
             (over {} steps)\n",
            self.batch,
            work.step_tokens,
            work.step_volumes,
            work.step_micro_batches,
            100.0 * work.padding_share,
            work.laid_out_steps
        );
        text += &format!("\n{:<22}{:>16}{:>16}\n", "TFLOP of a step", "forward", "backward");
        for module in &self.flops {
            let [forward, backward] = [module.forward, module.backward].map(|flops| flops.total() / 1e12);
            text += &format!("  {:<20}{forward:>16.3}{backward:>16.3}\n", module.module.name());
        }
        text
    }

    fn memory_and_steps(&self) -> String {
        let (states, activations, choice) = (&self.states, &self.activations, &self.choice);
        let mut text = format!(
            "\nmemory on {}\n  {:<20}{:>14}  weights {}, gradients {}, moments {}, remainders {}\n",
            self.device,
            "states",
            bytes(states.total()),
            bytes(states.weights),
            bytes(states.gradients),
            bytes(states.moments),
            bytes(states.remainder)
        );
        text += &format!(
            "  {:<20}{:>14}  for a moment {} more\n",
            "activations",
            bytes(activations.kept()),
            bytes(activations.transient)
        );
        text += &format!("  {:<20}{:>14}  of {}\n", "peak", bytes(self.peak), bytes(self.memory));
        text += &format!(
            "\nmicro-batch           at most {} tokens, {} volumes\ncomputed again        {}\n",
            at_most(choice.budget.tokens),
            at_most(choice.budget.volumes),
            of_policy(&choice.policy)
        );
        text += &format!("\n{:<22}{:>12}{:>12}{:>14}\n", "seconds of a step", "", "texts/s", "fullest");
        let mut line = |name: &str, choice: &Choice| {
            let (seconds, peak) = (choice.step_seconds, bytes(choice.peak));
            text += &format!("  {name:<20}{seconds:>12.3}{:>12.2}{peak:>14}\n", self.batch as f64 / seconds);
        };
        line("as above", choice);
        for (recompute, choice) in &self.alternatives {
            line(&format!("{} of all blocks", recompute.as_str()), choice);
        }
        text
    }
}

fn bytes(count: f64) -> String {
    format!("{:.2} GiB", count / f64::from(1 << 30))
}

/// A large number with a letter for its thousands.
fn count(number: f64) -> String {
    let powers = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let power = powers.into_iter().find(|(power, _)| number >= *power);
    power.map_or_else(|| format!("{number:.0}"), |(power, letter)| format!("{:.2} {letter}", number / power))
}

/// Seconds in the unit that a person thinks in.
fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ if seconds < 7200.0 => format!("{:.1} minutes", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.1} hours", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A bound that a configuration may leave out.
fn at_most(bound: usize) -> String {
    if bound == usize::MAX { "all".into() } else { bound.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_a_person_thinks_in() {
        let said = [5.0, 1500.0, 4.3e9, 2.5e18].map(count);
        assert_eq!(said, ["5", "1.50 k", "4.30 G", "2.50 E"]);
        let said = [1.25, 600.0, 36_000.0, 864_000.0].map(duration);
        assert_eq!(said, ["1.2 s", "10.0 minutes", "10.0 hours", "10.0 days"]);
        assert_eq!([at_most(7), at_most(usize::MAX)], ["7", "all"]);
        assert_eq!(bytes(1.5 * f64::from(1 << 30)), "1.50 GiB");
    }
}
