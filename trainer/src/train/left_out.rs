//! Steps that changed no weight, since their gradients were not finite: said, counted, and too many in a row.

use med2e3_program::note;
use med2e3_schemas::Id;

use crate::files::checkpoint::TrainState;

/// Samples of a step that was left out, in its message at most.
const SAMPLES_NAMED: usize = 8;

/// How many steps in a row were left out.
#[derive(Debug)]
pub(super) struct LeftOut {
    in_a_row: usize,
    most: usize,
}

impl LeftOut {
    /// Of a run in which so many in a row may be.
    pub(super) fn new(most: usize) -> LeftOut {
        LeftOut { in_a_row: 0, most }
    }

    /// A step was taken.
    pub(super) fn reset(&mut self) {
        self.in_a_row = 0;
    }

    /// A step was left out: it is kept in the state, and said with whose texts it was made of. Whether the run may go on.
    pub(super) fn add(&mut self, state: &mut TrainState, step: u64, loss: f64, samples: &[Id]) -> bool {
        state.skipped.push(step);
        self.in_a_row += 1;
        let names: Vec<String> = samples.iter().take(SAMPLES_NAMED).map(ToString::to_string).collect();
        let more = match samples.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        note(format_args!(
            "step {step} is left out: its loss {loss} or its gradients are not finite; samples {}{more}",
            names.join(", ")
        ));
        self.in_a_row <= self.most
    }
}
