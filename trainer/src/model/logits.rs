//! Logits at chosen positions, to compare a model with a reference: no part of a step, so it may wait for the device.

use tch::{Device, Kind, Tensor, no_grad};

use super::batch_plan::Purpose;
use super::error::{ModelError, expect_shape};
use super::input::ModelInput;
use super::med2e3::Med2e3;

/// Positions in a spliced batch.
pub struct SplicedPositions {
    /// Rows of the batch.
    pub rows: i64,
    /// Tokens of a padded row.
    pub width: i64,
    /// The positions, row * width + token.
    pub flat: Vec<i64>,
}

impl Med2e3 {
    /// Logits (R, V) in f32 at R positions of the spliced batch, and those positions: where the mask (B, T) over spliced positions
    /// is true, or at every token where there is none. Without a graph.
    ///
    /// # Errors
    /// As [`Med2e3::forward`], or a mask of another shape.
    pub fn logits(
        &self,
        input: &ModelInput,
        mask_bt: Option<&Tensor>,
    ) -> Result<(Tensor, SplicedPositions), ModelError> {
        no_grad(|| {
            let plan = self.plan(input, self.config().variant.max_length, Purpose::Positions)?;
            let placed = plan.place(|array, shape| array.place(shape, self.device()));
            let visual = self.visual_features(&input.voxels_vcdhw, &placed)?;
            let splice = &plan.splice;
            let hidden_bte = self.llm.forward(&self.embed(&placed, &visual.tokens_mse), &splice.lengths, None)?;
            let (rows, width) = (splice.lengths.len() as i64, splice.width as i64);
            let flat = match mask_bt {
                Some(mask_bt) => {
                    expect_shape("logits mask", mask_bt, &[rows, width])?;
                    let positions = mask_bt.ne(0).flatten(0, 1).nonzero().flatten(0, 1).to_device(Device::Cpu);
                    Vec::try_from(positions).expect("a flat i64 tensor on the CPU")
                }
                None => splice
                    .lengths
                    .iter()
                    .zip(0..)
                    .flat_map(|(length, row)| (0..*length as i64).map(move |t| row * width + t))
                    .collect(),
            };
            let positions = Tensor::from_slice(&flat).to_device(self.device());
            let logits_rv = self.llm.logits(&hidden_bte.flatten(0, 1).index_select(0, &positions)).to_kind(Kind::Float);
            Ok((logits_rv, SplicedPositions { rows, width, flat }))
        })
    }
}
