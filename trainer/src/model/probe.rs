//! What a model makes of stated answers, without a graph: how likely they are with other scores, and where their tokens look. Volumes are
//! encoded once, however many texts show them.

use tch::{Device, Kind, Tensor, no_grad};

use super::batch_plan::{BatchPlan, PlanRule, Purpose};
use super::error::ModelError;
use super::input::{TargetWeights, TextInput};
use super::loss::{Targets, next_token_loss};
use super::med2e3::{Encoded, Med2e3};

/// Where the tokens of an answer look, on average over them and over heads: shares of their attention.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attention {
    /// For each 3D token of the text's first volume, depth slowest.
    pub(crate) tokens3d: Vec<f64>,
    /// On all 2D tokens of that volume together.
    pub(crate) tokens2d: f64,
    /// On everything else.
    pub(crate) rest: f64,
}

impl Med2e3 {
    /// Volumes (V, C, D, H, W) for texts that show them.
    ///
    /// # Errors
    /// Another shape than the config's.
    pub(crate) fn encoded(&self, voxels_vcdhw: &Tensor) -> Result<Encoded<'_>, ModelError> {
        no_grad(|| self.encode(voxels_vcdhw))
    }

    /// The log-probability of each text's targets together, in nats; 0 of a text without any.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    pub(crate) fn log_probabilities(&self, encoded: &Encoded, texts: &[TextInput]) -> Result<Vec<f64>, ModelError> {
        no_grad(|| {
            let plan = self.probe_plan(encoded, texts)?;
            let placed = plan.place(|array, shape| array.place(shape, self.device()));
            let embeddings_bte = self.embed(&placed, &self.visual_of(encoded, &placed).tokens_mse);
            let hidden_bte = self.llm.forward(&embeddings_bte, &placed.splice.lengths, None)?;
            let targets = Targets {
                positions_r: &placed.target_positions,
                ids_r: &placed.target_ids,
                weights_r: &placed.target_weights,
            };
            let losses_r = next_token_loss(self.llm.output_embedding(), &hidden_bte, &targets).each_r;
            let losses: Vec<f32> = Vec::try_from(losses_r.to_device(Device::Cpu)).expect("a flat f32 tensor");
            let mut sums = vec![0.0; texts.len()];
            for (row, loss) in placed.splice.target_rows.iter().zip(losses) {
                sums[*row] -= f64::from(loss);
            }
            Ok(sums)
        })
    }

    /// Where a text's targets look in a block of the language model, numbered from 0: the weights of the positions that predict them.
    /// `None` for a text without a volume or without targets, and where the language model gets no 3D tokens.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    ///
    /// # Panics
    /// Not a block of the model.
    pub(crate) fn attention(
        &self,
        encoded: &Encoded,
        text: &TextInput,
        layer: usize,
    ) -> Result<Option<Attention>, ModelError> {
        let count3d = self.config().visual_tokens_3d() as usize;
        if text.volumes.is_empty() || count3d == 0 {
            return Ok(None);
        }
        no_grad(|| {
            let plan = self.probe_plan(encoded, std::slice::from_ref(text))?;
            if plan.splice.target_positions.is_empty() {
                return Ok(None);
            }
            let placed = plan.place(|array, shape| array.place(shape, self.device()));
            let embeddings_1te = self.embed(&placed, &self.visual_of(encoded, &placed).tokens_mse);
            let weights_rt = self.llm.attention_weights(&embeddings_1te, &placed.target_positions, layer)?;
            let mean_t = weights_rt.to_kind(Kind::Double).mean_dim([0i64].as_slice(), false, None::<Kind>);
            let mean: Vec<f64> = Vec::try_from(mean_t.to_device(Device::Cpu)).expect("a flat f64 tensor");
            // A volume's 3D tokens come before its 2D tokens.
            let visual = self.config().visual_token_count() as usize;
            let on = |positions: &[i64]| positions.iter().map(|at| mean[*at as usize]).collect::<Vec<f64>>();
            let (of_3d, of_2d) = plan.splice.visual_positions[..visual].split_at(count3d);
            let (tokens3d, tokens2d) = (on(of_3d), on(of_2d).iter().sum::<f64>());
            let rest = (mean.iter().sum::<f64>() - tokens3d.iter().sum::<f64>() - tokens2d).max(0.0);
            Ok(Some(Attention { tokens3d, tokens2d, rest }))
        })
    }

    fn probe_plan(&self, encoded: &Encoded, texts: &[TextInput]) -> Result<BatchPlan, ModelError> {
        let rule = PlanRule { volumes: encoded.volumes, max_length: usize::MAX, purpose: Purpose::Positions };
        BatchPlan::new(self, texts, &TargetWeights::Mean, rule)
    }
}
