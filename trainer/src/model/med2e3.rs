//! The whole model: volumes and ids in, loss and slice scores out. In a tensor of volumes B counts the volumes of the batch,
//! in a tensor of texts its rows.

use tch::{Device, Kind, Tensor, no_grad};

use super::config::{Med2e3Config, VisualTokens};
use super::connector::Connector;
use super::encoder2d::Encoder2d;
use super::encoder3d::Encoder3d;
use super::error::{ModelError, expect_multiple, expect_shape};
use super::language_model::LanguageModel;
use super::layers::Init;
use super::lora::{LoraConfig, Table};
use super::loss::next_token_loss;
use super::scorer::{self, ScorerInput, SliceScorer};
use super::splice::{Splice, VOLUME_ID};
use super::text_encoder::Bert;
use super::weights::adapt::adapt;

/// One batch. Id tensors may stay on the CPU, which saves the device a wait; voxels are on the model's device.
pub struct ModelInput {
    /// (B, C, D, H, W), values in 0..1: the batch's volumes in order of appearance, as many as the ids name. Of any kind of
    /// floats: the model converts them to its own.
    pub voxels_bcdhw: Tensor,
    /// i64, (B, T): text ids, [`VOLUME_ID`] for a volume, right-padded.
    pub ids_bt: Tensor,
    /// Ids of each row before padding.
    pub lengths_b: Vec<i64>,
    /// i64, the shape of the ids: the token itself where it is a target, else [`IGNORED`](med2e3_schemas::sample::IGNORED).
    pub labels_bt: Option<Tensor>,
    /// i64, (B, T) with a T of its own: ids of the bare question, for the scorer: the language model's, or where the variant's
    /// text feature is M3D-CLIP's, BERT's with start and end token.
    pub question_ids_bt: Tensor,
    /// Bool or number, the shape of the question's ids: true at tokens, false at padding.
    pub question_mask_bt: Tensor,
    /// One a row: what a scorer draws for a row comes from its key alone, whatever the batch.
    pub keys_b: Vec<u64>,
}

/// The result of a forward pass.
pub struct ModelOutput {
    /// Mean over the batch's targets, f32 scalar.
    pub loss: Tensor,
    /// Targets in the batch, after cutting.
    pub target_count: i64,
    /// Targets whose most likely token is right, i64 scalar on the device.
    pub correct_count: Tensor,
    /// f32, see [`VisualFeatures::scores_bn`].
    pub scores_bn: Tensor,
}

/// The visual tokens of each volume of a batch, and what they are computed from.
pub struct VisualFeatures {
    /// (B, S, E): what the language model gets.
    pub tokens_bse: Tensor,
    /// The 3D connector's tokens, (B, P, E), where the variant computes them.
    pub tokens3d_bpe: Option<Tensor>,
    /// The 2D connector's tokens of every slice, (B, N, Q, E), where the variant computes them.
    pub tokens2d_bnqe: Option<Tensor>,
    /// f32, (B, N): how much each slice counts, in 0..1, summing to 1 except for dropout in training. (B, 0) where the variant
    /// computes no 2D tokens; uniform where its aggregate uses no scores.
    pub scores_bn: Tensor,
}

/// Positions in a spliced batch.
pub struct SplicedPositions {
    /// Rows of the batch.
    pub rows: i64,
    /// Tokens of a padded row.
    pub width: i64,
    /// The positions, row * width + token.
    pub flat: Vec<i64>,
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

    /// Loss and scores of one batch. `train` enables dropout and keeps the graph.
    ///
    /// # Errors
    /// Shapes differ from the config's, or ids and volumes do not agree in number.
    pub fn forward(&self, input: &ModelInput, train: bool) -> Result<ModelOutput, ModelError> {
        if !train {
            return no_grad(|| self.forward_with_graph(input, false));
        }
        self.forward_with_graph(input, true)
    }

    fn forward_with_graph(&self, input: &ModelInput, train: bool) -> Result<ModelOutput, ModelError> {
        let splice = self.splice(input, self.config.variant.max_length)?;
        let visual = self.visual_features(input, &splice.volume_samples, train)?;
        let embeddings_bte = self.embed(&splice, &visual.tokens_bse);
        let hidden_bte = self.llm.forward(&embeddings_bte, &splice.lengths, train)?;
        let loss =
            next_token_loss(self.llm.output_embedding(), &hidden_bte, &splice.target_positions, &splice.target_ids);
        Ok(ModelOutput {
            loss: loss.mean,
            target_count: splice.target_ids.len() as i64,
            correct_count: loss.correct_count,
            scores_bn: visual.scores_bn.detach(),
        })
    }

    /// Visual tokens and slice scores of the batch's volumes, without a graph unless `train`.
    ///
    /// # Errors
    /// As [`Med2e3::forward`].
    pub fn visual(&self, input: &ModelInput, train: bool) -> Result<VisualFeatures, ModelError> {
        let splice = self.splice(input, self.config.variant.max_length)?;
        if train {
            return self.visual_features(input, &splice.volume_samples, true);
        }
        no_grad(|| self.visual_features(input, &splice.volume_samples, false))
    }

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
            let splice = self.splice(input, self.config.variant.max_length)?;
            let visual = self.visual_features(input, &splice.volume_samples, false)?;
            let embeddings_bte = self.embed(&splice, &visual.tokens_bse);
            let hidden_bte = self.llm.forward(&embeddings_bte, &splice.lengths, false)?;
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

    /// Disables every dropout, in training too.
    pub fn disable_dropout(&mut self) {
        self.config.variant.score_dropout = 0.0;
        self.llm.disable_dropout();
    }

    /// The spliced embeddings (B, T, E) of the prompts, their lengths, and the scores (B, N) of their volumes: what generation
    /// starts from. Without a graph and without cutting.
    pub(crate) fn prompt(&self, input: &ModelInput) -> Result<(Tensor, Vec<usize>, Tensor), ModelError> {
        no_grad(|| {
            let splice = self.splice(input, usize::MAX)?;
            let visual = self.visual_features(input, &splice.volume_samples, false)?;
            Ok((self.embed(&splice, &visual.tokens_bse), splice.lengths, visual.scores_bn))
        })
    }

    fn splice(&self, input: &ModelInput, max_length: usize) -> Result<Splice, ModelError> {
        let (rows, width) = (input.lengths_b.len(), *input.ids_bt.size().last().unwrap_or(&0));
        expect_shape("ids", &input.ids_bt, &[rows as i64, -1])?;
        if let Some(longest) = input.lengths_b.iter().max().filter(|longest| **longest > width) {
            let (expected, found) = (width as usize, *longest as usize);
            return Err(ModelError::TooLong { what: "row of ids", expected, found });
        }
        let ids = host_ids(&input.ids_bt);
        let labels = match &input.labels_bt {
            Some(labels_bt) => {
                expect_shape("labels", labels_bt, &input.ids_bt.size())?;
                Some(host_ids(labels_bt))
            }
            None => None,
        };
        let id_rows = unpadded(&ids, width, &input.lengths_b);
        self.check_ids("ids", id_rows.iter().copied().flatten().filter(|id| **id != VOLUME_ID))?;
        let label_rows = labels.as_ref().map(|labels| unpadded(labels, width, &input.lengths_b));
        let visual_tokens = self.config.visual_token_count() as usize;
        let splice = Splice::plan(&id_rows, label_rows.as_deref(), visual_tokens, max_length);

        let (expected, found) = (splice.volume_samples.len(), input.voxels_bcdhw.size()[0] as usize);
        if expected != found {
            return Err(ModelError::VolumeCount { expected, found });
        }
        Ok(splice)
    }

    /// A wrong id would end the process inside libtorch, on CUDA past any recovery.
    fn check_ids<'a>(&self, what: &'static str, mut ids: impl Iterator<Item = &'a i64>) -> Result<(), ModelError> {
        let expected = self.config.llm.vocab_size;
        let outside = ids.find(|id| !(0..expected).contains(*id));
        outside.map_or(Ok(()), |&found| Err(ModelError::TokenId { what, expected, found }))
    }

    /// Visual tokens and scores; `samples` holds for each volume the row of its question.
    fn visual_features(&self, input: &ModelInput, samples: &[i64], train: bool) -> Result<VisualFeatures, ModelError> {
        let [d, h, w] = self.config.vision3d.img_size;
        let voxels_bcdhw = &input.voxels_bcdhw.to_kind(self.kind());
        expect_shape("voxels", voxels_bcdhw, &[samples.len() as i64, self.config.vision3d.in_channels, d, h, w])?;

        if samples.is_empty() {
            let shape = [0, self.config.visual_token_count(), self.config.llm.hidden_size];
            let scores_bn = Tensor::zeros([0, self.config.slice_count()], (Kind::Float, self.device()));
            let tokens_bse = Tensor::zeros(shape, (self.kind(), self.device()));
            return Ok(VisualFeatures { tokens_bse, tokens3d_bpe: None, tokens2d_bnqe: None, scores_bn });
        }
        let tokens3d_bpe = match (&self.encoder3d, &self.connector3d) {
            (Some(encoder), Some(connector)) => Some(connector.forward(&encoder.forward(voxels_bcdhw)?)),
            _ => None,
        };
        let Some(tokens2d_bnqe) = self.slice_tokens(voxels_bcdhw)? else {
            let none = Tensor::zeros([samples.len() as i64, 0], (Kind::Float, self.device()));
            let tokens_bse = tokens3d_bpe.expect("a model without 2D tokens has 3D tokens");
            let tokens3d_bpe = Some(tokens_bse.shallow_clone());
            return Ok(VisualFeatures { tokens_bse, tokens3d_bpe, tokens2d_bnqe: None, scores_bn: none });
        };
        let scores_bn = self.score(input, samples, tokens3d_bpe.as_ref(), &tokens2d_bnqe, train)?;
        let tokens2d_bqe = self.config.variant.aggregate.forward(&tokens2d_bnqe, &scores_bn);
        let tokens_bse = match (self.config.variant.visual_tokens, &tokens3d_bpe) {
            (VisualTokens::Both, Some(tokens3d_bpe)) => Tensor::cat(&[tokens3d_bpe, &tokens2d_bqe], 1),
            _ => tokens2d_bqe,
        };
        Ok(VisualFeatures { tokens_bse, tokens3d_bpe, tokens2d_bnqe: Some(tokens2d_bnqe), scores_bn })
    }

    /// 2D tokens of every slice, (B, N, Q, E), where the variant computes them.
    fn slice_tokens(&self, voxels_bcdhw: &Tensor) -> Result<Option<Tensor>, ModelError> {
        let (Some(encoder), Some(connector)) = (&self.encoder2d, &self.connector2d) else {
            return Ok(None);
        };
        let slices_bhw = voxels_bcdhw.flatten(0, 2);
        let tokens_bqe = connector.forward(&encoder.forward(&slices_bhw, self.config.variant.slice_norm)?);
        Ok(Some(tokens_bqe.unflatten(0, [-1, self.config.slice_count()])))
    }

    fn score(
        &self,
        input: &ModelInput,
        samples: &[i64],
        tokens3d_bpe: Option<&Tensor>,
        tokens2d_bnqe: &Tensor,
        train: bool,
    ) -> Result<Tensor, ModelError> {
        let (variant, device, slice_count) = (&self.config.variant, self.device(), self.config.slice_count());
        if !variant.uses_scores() {
            let shape = [samples.len() as i64, slice_count];
            return Ok(Tensor::full(shape, 1.0 / slice_count as f64, (Kind::Float, device)));
        }
        let text_be = if variant.uses_question() { Some(self.question_feature(input, samples)?) } else { None };
        let slices_bne = variant.uses_slice_features().then(|| {
            scorer::slice_features(variant.slice_feature(), tokens3d_bpe, tokens2d_bnqe, self.config.pooled_grid()[0])
        });
        let volumes = samples.len() as i64;
        let keys = scorer::volume_keys(&input.keys_b, samples);
        let (slices_bne, text_be) = (slices_bne.as_ref(), text_be.as_ref());
        let scored = ScorerInput { slices_bne, text_be, volumes, slice_count, device, keys: &keys };
        Ok(scorer::scores(&self.scorer.relevance(&scored), variant.score_dropout, train))
    }

    /// The question's feature for each volume, (B, E of the text); `samples` holds the row of each volume's question.
    fn question_feature(&self, input: &ModelInput, samples: &[i64]) -> Result<Tensor, ModelError> {
        expect_shape("question ids", &input.question_ids_bt, &[input.lengths_b.len() as i64, -1])?;
        expect_shape("question mask", &input.question_mask_bt, &input.question_ids_bt.size())?;
        let device = self.device();
        let samples = Tensor::from_slice(samples).to_device(device);
        let of_volumes = |x_bt: &Tensor| x_bt.to_device(device).index_select(0, &samples);
        if let Some(encoder) = &self.text_encoder {
            // Each question is read once, however many volumes its row holds.
            let features = encoder.forward(&input.question_ids_bt, &input.question_mask_bt)?;
            return Ok(features.pooled_be.index_select(0, &samples));
        }
        self.check_ids("question ids", host_ids(&input.question_ids_bt).iter())?;
        let question_bte = self.llm.embed(&of_volumes(&input.question_ids_bt));
        Ok(scorer::mean_embedding(&question_bte, &of_volumes(&input.question_mask_bt)))
    }

    /// Text embeddings with the visual tokens at their positions, (B, T, E).
    fn embed(&self, splice: &Splice, tokens_bse: &Tensor) -> Tensor {
        let device = self.device();
        let on_device = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let text_re = self.llm.embed(&on_device(&splice.text_ids));
        let visual_re = tokens_bse.flatten(0, 1).index_select(0, &on_device(&splice.visual_rows));
        text_re
            .index_copy(0, &on_device(&splice.visual_positions), &visual_re)
            .unflatten(0, [splice.lengths.len() as i64, -1])
    }
}

/// All ids, row after row. Waits for the device if they are there.
fn host_ids(ids_bt: &Tensor) -> Vec<i64> {
    let flat = ids_bt.to_device(Device::Cpu).to_kind(Kind::Int64).flatten(0, -1);
    Vec::try_from(flat).expect("a flat i64 tensor on the CPU")
}

/// The rows of a flat padded batch without their padding.
fn unpadded<'a>(flat: &'a [i64], width: i64, lengths: &[i64]) -> Vec<&'a [i64]> {
    let row = |(b, length): (usize, &i64)| &flat[b * width as usize..][..*length as usize];
    lengths.iter().enumerate().map(row).collect()
}
