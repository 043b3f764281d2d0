//! The loss of each task's targets: summed on the device with the step's other numbers, so that no step waits for it.

use std::collections::BTreeMap;

use med2e3_schemas::report::TaskLoss;
use med2e3_schemas::sample::Task;
use tch::{Kind, Tensor};

use crate::host_array::HostArray;
use crate::staging::Part;

/// Tasks that there are; K in shapes, in the order of [`Task::ALL`].
const TASKS: usize = Task::ALL.len();

/// Which task each target of a micro-batch belongs to.
pub(super) struct TaskTargets {
    /// (K, R): whether a target is of another task.
    others: Vec<bool>,
    counts: [u64; TASKS],
}

impl TaskTargets {
    /// `tasks` are those of the texts; `target_rows` states the text of each target.
    pub(super) fn new(tasks: &[Task], target_rows: &[usize]) -> TaskTargets {
        let of_target = || target_rows.iter().map(|row| tasks[*row]);
        let mut counts = [0; TASKS];
        of_target().for_each(|task| counts[task as usize] += 1);
        let others = Task::ALL.iter().flat_map(|task| of_target().map(move |own| own != *task)).collect();
        TaskTargets { others, counts }
    }

    /// bool, (K, R), for [`TaskTargets::sums`].
    pub(super) fn part(&self) -> Part<'_> {
        Part { array: HostArray::Bool(&self.others), shape: vec![TASKS as i64, (self.others.len() / TASKS) as i64] }
    }

    /// The sums of a micro-batch whose targets have the losses (R), with [`TaskTargets::part`] on their device.
    pub(super) fn sums(&self, losses_r: &Tensor, others_kr: &Tensor) -> TaskSums {
        // A loss that is not a number spoils the sum of its own task alone, which a product with 0 would not do.
        let own_kr = losses_r.unsqueeze(0).masked_fill(others_kr, 0.0);
        TaskSums { losses_k: Some(own_kr.sum_dim_intlist([1i64].as_slice(), false, Kind::Float)), targets: self.counts }
    }
}

/// Sums of losses and numbers of targets by task.
#[derive(Default)]
pub(super) struct TaskSums {
    /// f32, (K), on the device; none where nothing was added.
    losses_k: Option<Tensor>,
    targets: [u64; TASKS],
}

impl TaskSums {
    /// Adds those of another micro-batch.
    pub(super) fn add(&mut self, other: &TaskSums) {
        self.losses_k = match (self.losses_k.take(), &other.losses_k) {
            (Some(sum), Some(more)) => Some(sum + more),
            (sum, more) => sum.or_else(|| more.as_ref().map(Tensor::shallow_clone)),
        };
        self.targets.iter_mut().zip(other.targets).for_each(|(sum, more)| *sum += more);
    }

    /// The sums of the losses, f32, (K), on the device; none where nothing was added.
    pub(super) fn losses(&self) -> Option<&Tensor> {
        self.losses_k.as_ref()
    }

    /// The tasks that have targets, with the means of these sums of losses, which came to the host.
    pub(super) fn by_task(&self, losses: &[f64]) -> BTreeMap<Task, TaskLoss> {
        let each = Task::ALL.iter().zip(self.targets).zip(losses).filter(|((_, targets), _)| *targets > 0);
        each.map(|((task, targets), sum)| (*task, TaskLoss { loss: sum / targets as f64, targets })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn every_target_counts_for_its_own_task_and_spoils_no_other() {
        let losses = [1.0f32, 3.0, f32::NAN, 5.0, 0.25];
        let tasks = [Task::OpenVqa, Task::Caption, Task::ClosedVqa];
        let of = |rows: &[usize], losses: &[f32]| {
            let targets = TaskTargets::new(&tasks, rows);
            let part = targets.part();
            let others_kr = part.array.place(&part.shape, Device::Cpu);
            targets.sums(&Tensor::from_slice(losses), &others_kr)
        };
        let mut sums = TaskSums::default();
        assert!(sums.losses().is_none() && sums.by_task(&[]).is_empty());
        sums.add(&of(&[0, 0, 2, 1, 1], &losses));
        sums.add(&of(&[0], &[5.0]));
        sums.add(&of(&[], &[]));
        let found = sums.by_task(&Vec::<f64>::try_from(sums.losses().unwrap()).unwrap());
        assert_eq!(found[&Task::OpenVqa], TaskLoss { loss: 3.0, targets: 3 });
        assert_eq!(found[&Task::Caption], TaskLoss { loss: 2.625, targets: 2 });
        assert!(found[&Task::ClosedVqa].loss.is_nan() && found[&Task::ClosedVqa].targets == 1);
        let only = of(&[1, 1], &[1.0, 2.0]);
        assert_eq!(only.by_task(&[3.0, 0.0, 0.0]).keys().collect::<Vec<_>>(), [&Task::Caption]);
    }
}
