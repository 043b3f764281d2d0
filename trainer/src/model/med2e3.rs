//! The whole model: volumes and ids in, loss and slice scores out. V counts the distinct volumes of a batch, B its texts, M the
//! places in them that show a volume.

use tch::{Device, Kind, Tensor, no_grad};

use super::batch_plan::{BatchPlan, PlacedPlan, PlanRule, Purpose};
use super::config::{Med2e3Config, VisualTokens};
use super::connector::Connector;
use super::encoder2d::Encoder2d;
use super::encoder3d::Encoder3d;
use super::error::{ModelError, expect_multiple, expect_shape};
use super::input::{ModelInput, TargetWeights, TextInput};
use super::language_model::LanguageModel;
use super::layers::Init;
use super::lora::{LoraConfig, Table};
use super::loss::{Targets, next_token_loss};
use super::part::Part;
use super::recompute::{Recomputation, Recompute};
use super::scorer::{self, ScorerInput, SliceScorer};
use super::slice_tokens::SliceTokens;
use super::text_encoder::Bert;
use super::weights::adapt::adapt;

/// The result of a forward pass.
pub struct ModelOutput {
    /// The loss as [`TargetWeights`] states it, f32 scalar.
    pub loss: Tensor,
    /// The plain sum of the targets' cross-entropy, in nats, f32 scalar on the device, without a graph.
    pub loss_sum: Tensor,
    /// f32, (R): each target's cross-entropy in nats, row by row of the batch, without a graph.
    pub target_losses_r: Tensor,
    /// Targets in the batch, after cutting.
    pub target_count: i64,
    /// Targets whose most likely token is right, i64 scalar on the device.
    pub correct_count: Tensor,
    /// f32, see [`VisualFeatures::scores_mn`].
    pub scores_mn: Tensor,
}

/// The visual tokens of a batch, and what they are computed from. V counts distinct volumes, M the places of texts that show
/// one.
pub struct VisualFeatures {
    /// (M, S, E): what the language model gets.
    pub tokens_mse: Tensor,
    /// The 3D connector's tokens, (V, P, E), where the variant computes them.
    pub tokens3d_vpe: Option<Tensor>,
    /// The 2D connector's tokens of every slice, (V, N, Q, E), where the variant computes them.
    pub tokens2d_vnqe: Option<Tensor>,
    /// f32, (M, N): how much each slice counts, in 0..1, summing to 1 except for dropout in training. (M, 0) where the variant
    /// computes no 2D tokens; uniform where its aggregate uses no scores.
    pub scores_mn: Tensor,
}

/// As [`VisualFeatures`], the tokens of every slice not made yet.
pub(super) struct Visual<'a> {
    pub(super) tokens_mse: Tensor,
    tokens3d_vpe: Option<Tensor>,
    slices: Option<SliceTokens<'a>>,
    scores_mn: Tensor,
}

/// Volumes after the encoders, before a question weighs their slices.
pub(crate) struct Encoded<'a> {
    tokens3d_vpe: Option<Tensor>,
    slices: Option<SliceTokens<'a>>,
    /// Distinct volumes.
    pub(super) volumes: usize,
}

/// Encoders, connectors, scorer and language model. Parts that the variant does not need are not built.
pub struct Med2e3 {
    config: Med2e3Config,
    pub(crate) llm: LanguageModel,
    pub(crate) encoder3d: Option<Encoder3d>,
    pub(crate) connector3d: Option<Connector>,
    pub(crate) encoder2d: Option<Encoder2d>,
    pub(crate) connector2d: Option<Connector>,
    pub(crate) text_encoder: Option<Bert>,
    pub(crate) scorer: Box<dyn SliceScorer>,
}

impl Med2e3 {
    /// Fresh f32 weights from a seed, none of them trainable yet.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn new(config: &Med2e3Config, device: Device, seed: u64) -> Result<Med2e3, ModelError> {
        Med2e3::build(config, &Init::drawn(device, Kind::Float, config.initializer, seed))
    }

    /// Weights in name and shape only, for [`Med2e3::load`] to fill part by part; it costs no memory, whatever the sizes.
    /// Until then nothing may be computed with it.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn unloaded(config: &Med2e3Config, device: Device, kind: Kind) -> Result<Med2e3, ModelError> {
        Med2e3::build(config, &Init::shapes(device, kind))
    }

    fn build(config: &Med2e3Config, init: &Init) -> Result<Med2e3, ModelError> {
        config.check()?;
        let (variant, width) = (&config.variant, config.llm.hidden_size);
        let mut llm = LanguageModel::new(&config.llm, init)?;
        let (mut encoder3d, mut connector3d, mut encoder2d, mut connector2d) = (None, None, None, None);
        if variant.needs_3d() {
            let (kind, grid, from) = (variant.connector3d, config.vision3d.grid(), config.vision3d.hidden_size);
            encoder3d = Some(Encoder3d::new(&config.vision3d, variant.final_norm, init)?);
            connector3d = Some(Connector::new("variant.connector3d", kind, init, grid, from, width)?);
        }
        if variant.needs_2d() {
            let (kind, grid, from) = (variant.connector2d, config.vision2d.grid(), config.vision2d.hidden_size);
            encoder2d = Some(Encoder2d::new(&config.vision2d, init)?);
            connector2d = Some(Connector::new("variant.connector2d", kind, init, grid, from, width)?);
        }
        if variant.needs_2d() && variant.needs_3d() {
            expect_multiple("slices over pooled depth", config.slice_count(), config.pooled_grid()[0])?;
        }
        let text_config = config.text_encoder.as_ref().filter(|_| variant.needs_text_encoder());
        let text_encoder = text_config.map(|text| Bert::new(text, init)).transpose()?;
        let scorer = scorer::build(variant, width, text_config.map_or(width, |text| text.hidden_size), init);
        if let Some(lora) = &config.lora {
            adapt(&mut llm, lora, init)?;
        }
        let config = config.clone();
        Ok(Med2e3 { config, llm, encoder3d, connector3d, encoder2d, connector2d, text_encoder, scorer })
    }

    /// The config it was built with.
    pub fn config(&self) -> &Med2e3Config {
        &self.config
    }

    /// The language model alone.
    pub fn llm(&self) -> &LanguageModel {
        &self.llm
    }

    /// The 3D encoder alone, where the variant builds one.
    pub fn encoder3d(&self) -> Option<&Encoder3d> {
        self.encoder3d.as_ref()
    }

    /// The 2D encoder alone, where the variant builds one.
    pub fn encoder2d(&self) -> Option<&Encoder2d> {
        self.encoder2d.as_ref()
    }

    /// Whether questions go through the text encoder, so that their ids are those of its tokenizer.
    pub fn reads_questions_as_text(&self) -> bool {
        self.text_encoder.is_some()
    }

    /// The weights' kind of floats.
    pub fn kind(&self) -> Kind {
        self.llm.embedding.kind()
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.llm.device()
    }

    /// Adds an id that ends an answer, where it is not among them; no number depends on it.
    pub fn end_with(&mut self, id: i64) {
        let end = &mut self.config.llm.special_ids.end;
        if !end.contains(&id) {
            end.push(id);
        }
    }

    /// Adds fresh adapters, drawn from a seed, to the language model.
    ///
    /// # Errors
    /// Numbers out of range, unknown targets, or adapters are there already.
    pub fn add_adapters(&mut self, lora: &LoraConfig, seed: u64) -> Result<(), ModelError> {
        if self.config.lora.is_some() {
            return Err(ModelError::config("lora", "a model without adapters", "one with them"));
        }
        let init = Init::drawn(self.device(), self.kind(), self.config.initializer, seed);
        adapt(&mut self.llm, lora, &init)?;
        self.config.lora = Some(lora.clone());
        Ok(())
    }

    /// What the blocks of a part make again in their backward pass: of its first `blocks` blocks, of all where none are stated.
    /// No number depends on it. A tower that the variant does not build has nothing to make again.
    ///
    /// # Errors
    /// The part has no blocks, or fewer than stated.
    pub fn set_recompute(&mut self, part: Part, policy: Recompute, blocks: Option<usize>) -> Result<(), ModelError> {
        let (recomputation, found) = match part {
            Part::Llm => (Some(&mut self.llm.recomputation), self.llm.blocks.len()),
            Part::Vision2dModel => {
                let encoder = self.encoder2d.as_mut();
                encoder.map_or((None, usize::MAX), |it| (Some(&mut it.recomputation), it.blocks.len()))
            }
            Part::Vision3dModel => {
                let encoder = self.encoder3d.as_mut();
                encoder.map_or((None, usize::MAX), |it| (Some(&mut it.recomputation), it.blocks.len()))
            }
            Part::Vision2dConnector | Part::Vision3dConnector => {
                let expected = [Part::Llm, Part::Vision2dModel, Part::Vision3dModel].map(Part::name).join(", ");
                return Err(ModelError::config("recompute", format!("a part with blocks ({expected})"), part));
            }
        };
        if let Some(blocks) = blocks.filter(|blocks| *blocks > found) {
            let (field, expected) = (format!("recompute.{part}"), format!("at most the part's {found} blocks"));
            return Err(ModelError::config(&field, expected, blocks));
        }
        if let Some(recomputation) = recomputation {
            *recomputation = Recomputation::new(policy, blocks.unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// Has tables of the language model stored with its adapters, as PEFT's `modules_to_save`. Both where both are one, which
    /// PEFT would otherwise take apart. Nothing where there are no adapters.
    pub fn store_with_adapters(&mut self, tables: &[Table]) {
        let is_tied = self.config.llm.tie_word_embeddings && !tables.is_empty();
        if let Some(lora) = &mut self.config.lora {
            lora.tables = Table::ALL
                .into_iter()
                .filter(|table| is_tied || tables.contains(table) || lora.tables.contains(table))
                .collect();
        }
    }

    /// Adds every adapter's matrix to its map's; the model and its config are then without adapters. Returns the largest
    /// difference between a map with its adapter and the merged one on fixed input, over the largest value: what rounding to
    /// the weights' kind costs. 0 where there are no adapters.
    ///
    /// # Errors
    /// The difference is above `tolerance`; the adapters are removed even so.
    pub fn merge_adapters(&mut self, tolerance: f64) -> Result<f64, ModelError> {
        self.config.lora = None;
        self.llm.merge_adapters(tolerance)
    }

    /// Loss and scores of one batch. `train` states the seed of what is drawn for the whole batch (adapters' dropout): it
    /// enables dropouts and keeps the graph.
    ///
    /// # Errors
    /// Shapes differ from the config's, or ids and volumes do not agree in number.
    pub fn forward(&self, input: &ModelInput, train: Option<u64>) -> Result<ModelOutput, ModelError> {
        let purpose = if train.is_some() { Purpose::Training } else { Purpose::Loss };
        let plan = self.plan(input, self.config.variant.max_length, purpose)?;
        let placed = plan.place(|array, shape| array.place(shape, self.device()));
        self.forward_placed(&input.voxels_vcdhw, &placed, train)
    }

    /// [`Med2e3::forward`] of a batch whose plan is on the device already: nothing is read back from there.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    pub(crate) fn forward_placed(
        &self,
        voxels_vcdhw: &Tensor,
        placed: &PlacedPlan,
        train: Option<u64>,
    ) -> Result<ModelOutput, ModelError> {
        let compute = || {
            let visual = self.visual_features(voxels_vcdhw, placed)?;
            let embeddings_bte = self.embed(placed, &visual.tokens_mse);
            let hidden_bte = self.llm.forward(&embeddings_bte, &placed.splice.lengths, train)?;
            let targets = Targets {
                positions_r: &placed.target_positions,
                ids_r: &placed.target_ids,
                weights_r: &placed.target_weights,
            };
            let loss = next_token_loss(self.llm.output_embedding(), &hidden_bte, &targets);
            Ok(ModelOutput {
                loss: loss.weighted,
                loss_sum: loss.sum,
                target_losses_r: loss.each_r,
                target_count: placed.splice.target_ids.len() as i64,
                correct_count: loss.correct_count,
                scores_mn: visual.scores_mn.detach(),
            })
        };
        if train.is_some() { compute() } else { no_grad(compute) }
    }

    /// The plan of a batch.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    pub(crate) fn plan(
        &self,
        input: &ModelInput,
        max_length: usize,
        purpose: Purpose,
    ) -> Result<BatchPlan, ModelError> {
        let volumes = input.voxels_vcdhw.size().first().map_or(0, |count| *count as usize);
        BatchPlan::new(self, &input.texts, &input.weights, PlanRule { volumes, max_length, purpose })
    }

    /// The plan of texts that show so many distinct volumes.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    pub(crate) fn plan_texts(
        &self,
        texts: &[TextInput],
        weights: &TargetWeights,
        volumes: usize,
        purpose: Purpose,
    ) -> Result<BatchPlan, ModelError> {
        let max_length = self.config.variant.max_length;
        BatchPlan::new(self, texts, weights, PlanRule { volumes, max_length, purpose })
    }

    /// Visual tokens and slice scores of the batch, without a graph and without dropout.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    pub fn visual(&self, input: &ModelInput) -> Result<VisualFeatures, ModelError> {
        no_grad(|| {
            let plan = self.plan(input, self.config.variant.max_length, Purpose::Positions)?;
            let placed = plan.place(|array, shape| array.place(shape, self.device()));
            let visual = self.visual_features(&input.voxels_vcdhw, &placed)?;
            Ok(VisualFeatures {
                tokens2d_vnqe: visual.slices.as_ref().map(SliceTokens::all),
                tokens_mse: visual.tokens_mse,
                tokens3d_vpe: visual.tokens3d_vpe,
                scores_mn: visual.scores_mn,
            })
        })
    }

    /// Sets the dropout of the text encoder in training, see [`Bert::set_dropout`]; returns whether there is one.
    pub fn set_text_encoder_dropout(&mut self, probability: f64) -> bool {
        self.text_encoder.as_mut().map(|encoder| encoder.set_dropout(probability)).is_some()
    }

    /// Disables every dropout, in training too.
    pub fn disable_dropout(&mut self) {
        self.config.variant.score_dropout = 0.0;
        self.set_text_encoder_dropout(0.0);
        self.llm.disable_dropout();
    }

    /// The spliced embeddings (B, T, E) of the prompts, their lengths, and the scores (M, N) of the volumes that they show: what
    /// generation starts from. Without a graph and without cutting.
    pub(crate) fn prompt(&self, input: &ModelInput) -> Result<(Tensor, Vec<usize>, Tensor), ModelError> {
        no_grad(|| {
            let plan = self.plan(input, usize::MAX, Purpose::Positions)?;
            let placed = plan.place(|array, shape| array.place(shape, self.device()));
            let visual = self.visual_features(&input.voxels_vcdhw, &placed)?;
            Ok((self.embed(&placed, &visual.tokens_mse), plan.splice.lengths.clone(), visual.scores_mn))
        })
    }

    pub(super) fn visual_features(&self, voxels_vcdhw: &Tensor, placed: &PlacedPlan) -> Result<Visual<'_>, ModelError> {
        let plan = placed.mentions.plan;
        let [d, h, w] = self.config.vision3d.img_size;
        let shape = [plan.volume_count, self.config.vision3d.in_channels, d, h, w];
        expect_shape("voxels", voxels_vcdhw, &shape)?;
        if plan.count() == 0 {
            return Ok(self.no_visual());
        }
        Ok(self.visual_of(&self.encode(voxels_vcdhw)?, placed))
    }

    /// Of texts that show no volume.
    fn no_visual(&self) -> Visual<'_> {
        let shape = [0, self.config.visual_token_count(), self.config.llm.hidden_size];
        let scores_mn = Tensor::zeros([0, self.config.slice_count()], (Kind::Float, self.device()));
        let tokens_mse = Tensor::zeros(shape, (self.kind(), self.device()));
        Visual { tokens_mse, tokens3d_vpe: None, slices: None, scores_mn }
    }

    /// Volumes (V, C, D, H, W) through the encoders.
    pub(super) fn encode(&self, voxels_vcdhw: &Tensor) -> Result<Encoded<'_>, ModelError> {
        let [d, h, w] = self.config.vision3d.img_size;
        let voxels_vcdhw = &voxels_vcdhw.to_kind(self.kind());
        expect_shape("voxels", voxels_vcdhw, &[-1, self.config.vision3d.in_channels, d, h, w])?;
        let tokens3d_vpe = match (&self.encoder3d, &self.connector3d) {
            (Some(encoder), Some(connector)) => Some(connector.forward(&encoder.forward(voxels_vcdhw)?)),
            _ => None,
        };
        let volumes = voxels_vcdhw.size()[0] as usize;
        Ok(Encoded { tokens3d_vpe, slices: self.slice_tokens(voxels_vcdhw)?, volumes })
    }

    /// What texts get of encoded volumes.
    pub(super) fn visual_of<'a>(&'a self, encoded: &Encoded<'a>, placed: &PlacedPlan) -> Visual<'a> {
        let mentions = &placed.mentions;
        if mentions.plan.count() == 0 {
            return self.no_visual();
        }
        let tokens3d_vpe = encoded.tokens3d_vpe.as_ref().map(Tensor::shallow_clone);
        let Some(slices) = encoded.slices.as_ref().map(SliceTokens::shallow_clone) else {
            let scores_mn = Tensor::zeros([mentions.plan.count(), 0], (Kind::Float, self.device()));
            let tokens3d = tokens3d_vpe.as_ref().expect("a model without 2D tokens has 3D tokens");
            return Visual { tokens_mse: mentions.of_volumes(tokens3d), tokens3d_vpe, slices: None, scores_mn };
        };
        let scores_mn = self.score(placed, tokens3d_vpe.as_ref(), &slices);
        let tokens2d_mqe = slices.aggregated(self.config.variant.aggregate, &scores_mn, mentions);
        let tokens_mse = match (self.config.variant.visual_tokens, &tokens3d_vpe) {
            (VisualTokens::Both, Some(tokens3d_vpe)) => {
                Tensor::cat(&[mentions.of_volumes(tokens3d_vpe), tokens2d_mqe], 1)
            }
            _ => tokens2d_mqe,
        };
        Visual { tokens_mse, tokens3d_vpe, slices: Some(slices), scores_mn }
    }

    /// 2D tokens of every slice, where the variant computes them.
    fn slice_tokens(&self, voxels_vcdhw: &Tensor) -> Result<Option<SliceTokens<'_>>, ModelError> {
        let (Some(encoder), Some(connector)) = (&self.encoder2d, &self.connector2d) else {
            return Ok(None);
        };
        let slices_bhw = voxels_vcdhw.flatten(0, 2);
        let hidden_bqe = connector.before_last(&encoder.forward(&slices_bhw, self.config.variant.slice_norm)?);
        let hidden_vnqe = hidden_bqe.unflatten(0, [-1, self.config.slice_count()]);
        Ok(Some(SliceTokens::new(hidden_vnqe, connector.maps.last(), self.config.variant.aggregate)))
    }

    fn score(&self, placed: &PlacedPlan, tokens3d_vpe: Option<&Tensor>, slices: &SliceTokens) -> Tensor {
        let (variant, device, slice_count) = (&self.config.variant, self.device(), self.config.slice_count());
        let mentions = placed.mentions.plan.count();
        if let Some(given_mn) = &placed.given_scores_mn {
            return given_mn.shallow_clone();
        }
        if !variant.uses_scores() {
            return Tensor::full([mentions, slice_count], 1.0 / slice_count as f64, (Kind::Float, device));
        }
        let text_me = variant.uses_question().then(|| self.question_feature(placed));
        let slices_mne = variant.uses_slice_features().then(|| {
            let (feature, depth) = (variant.slice_feature(), self.config.pooled_grid()[0]);
            placed.mentions.of_volumes(&scorer::slice_features(feature, tokens3d_vpe, slices, slice_count, depth))
        });
        let (slices_mne, text_me) = (slices_mne.as_ref(), text_me.as_ref());
        let draws_mn = placed.score_draws_mn.as_ref();
        let scored = ScorerInput { slices_mne, text_me, draws_mn, mentions, slice_count, device };
        scorer::scores(&self.scorer.relevance(&scored), placed.score_mask_mn.as_ref())
    }

    /// The question's feature for each mention, (M, E of the text). Each question is read once, however many volumes its text
    /// shows.
    fn question_feature(&self, placed: &PlacedPlan) -> Tensor {
        let feature_be = match &self.text_encoder {
            Some(encoder) => {
                let mask_bt = placed.questions_are_padded.then_some(&placed.question_mask_bt);
                encoder.read(&placed.question_ids_bt, mask_bt, placed.question_keys_pb.as_ref()).pooled_be
            }
            None => scorer::mean_embedding(&self.llm.embed(&placed.question_ids_bt), &placed.question_mask_bt),
        };
        placed.mentions.of_texts(&feature_be)
    }

    /// Text embeddings with the visual tokens at their positions, (B, T, E).
    pub(super) fn embed(&self, placed: &PlacedPlan, tokens_mse: &Tensor) -> Tensor {
        let text_re = self.llm.embed(&placed.text_ids);
        let visual_re = tokens_mse.flatten(0, 1).index_select(0, &placed.visual_rows);
        text_re
            .index_copy(0, &placed.visual_positions, &visual_re)
            .unflatten(0, [placed.splice.lengths.len() as i64, -1])
    }
}
