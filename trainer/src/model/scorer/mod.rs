//! Text-guided inter-slice scoring and its alternatives: how much each slice counts.
//!
//! A scorer gives one number a slice; the softmax over slices is the same for all of them and is in this file.

mod fixed;
mod linear;
mod text_guided;

use tch::{Device, Kind, Tensor};

pub(crate) use fixed::{Gauss, Random, Uniform, normal_draws};
pub(crate) use linear::LinearScorer;
pub(crate) use text_guided::TextGuided;

use super::config::{LocalFeature, Scorer, TextFeature, Variant};
use super::draws::draw_key;
use super::layers::{Init, Linear};
use super::slice_tokens::SliceTokens;

/// What a scorer may read, for the M mentions of a batch: each a volume with the question of its text.
pub(crate) struct ScorerInput<'a> {
    /// (M, N, E), one feature a slice. None where the variant's scorer reads no feature.
    pub(crate) slices_mne: Option<&'a Tensor>,
    /// (M, E of the text), one feature a question. None where the scorer does not read the question.
    pub(crate) text_me: Option<&'a Tensor>,
    /// f32, (M, N), normal draws. None where the scorer draws nothing.
    pub(crate) draws_mn: Option<&'a Tensor>,
    /// Mentions of the batch.
    pub(crate) mentions: i64,
    /// Slices of a volume.
    pub(crate) slice_count: i64,
    /// The device of the scores.
    pub(crate) device: Device,
}

/// One number a slice, before the softmax.
pub(crate) trait SliceScorer {
    /// (M, N), any real numbers.
    fn relevance(&self, input: &ScorerInput) -> Tensor;

    /// The scorer's only trained layer, where it has one.
    fn layer(&self) -> Option<(ScorerLayer, &Linear)> {
        None
    }
}

/// The purpose of a scorer's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScorerLayer {
    /// A slice's feature to its relevance.
    Head,
    /// The question's feature to the slices' width.
    TextProjection,
}

/// The scorer that the variant names. `width` is the language model's, `text_width` the text encoder's.
pub(crate) fn build(variant: &Variant, width: i64, text_width: i64, init: &Init) -> Box<dyn SliceScorer> {
    match variant.scorer {
        Scorer::TextGuided => {
            let is_projected = variant.text_feature == TextFeature::M3dClip;
            let projection = is_projected.then(|| Linear::new(init, text_width, width));
            Box::new(TextGuided { temperature: variant.temperature, projection })
        }
        Scorer::Linear => Box::new(LinearScorer { head: Linear::new(init, width, 1) }),
        Scorer::Uniform => Box::new(Uniform),
        Scorer::Random => Box::new(Random),
        Scorer::Gauss => Box::new(Gauss),
    }
}

/// (M, N) of relevance to scores in 0..1 that sum to 1 over the slices; in f32 whatever the model's kind. The mask of a dropout,
/// 0 or 1 / (1 - p), comes after the softmax, so in training scores need not sum to 1.
pub(crate) fn scores(relevance_mn: &Tensor, mask_mn: Option<&Tensor>) -> Tensor {
    let scores_mn = relevance_mn.softmax(-1, Kind::Float);
    mask_mn.map_or_else(|| scores_mn.shallow_clone(), |mask_mn| &scores_mn * mask_mn)
}

/// One key a mention: of its text, and of its place among the text's mentions. `texts` holds each mention's text.
pub(crate) fn mention_keys(text_keys: &[u64], texts: &[i64]) -> Vec<u64> {
    let place = |mention: usize| texts[..mention].iter().filter(|text| **text == texts[mention]).count() as u64;
    let key = |(mention, text): (usize, &i64)| draw_key(&[text_keys[*text as usize], place(mention)]);
    texts.iter().enumerate().map(key).collect()
}

/// One feature a slice, (V, N, E). A depth layer of 3D tokens belongs to the N / depth slices that it covers.
///
/// `tokens3d_vpe` (V, P, E) has its P tokens depth slowest in `depth` layers.
pub(crate) fn slice_features(
    local: LocalFeature,
    tokens3d_vpe: Option<&Tensor>,
    tokens2d: &SliceTokens,
    slices: i64,
    depth: i64,
) -> Tensor {
    let mean3d_vne = || {
        let layers_vdpe = tokens3d_vpe.expect("the variant makes 3D tokens").unflatten(1, [depth, -1]);
        let mean_vde = layers_vdpe.mean_dim([2i64].as_slice(), false, None::<Kind>);
        mean_vde.repeat_interleave_self_int(slices / depth, 1, slices)
    };
    match local {
        LocalFeature::Vision2d => tokens2d.means(),
        LocalFeature::Vision3d => mean3d_vne(),
        LocalFeature::Both => {
            // The mean over both kinds of tokens together, without a copy of them in one tensor.
            let of_layer = tokens3d_vpe.expect("the variant makes 3D tokens").size()[1] / depth;
            let all = (of_layer + tokens2d.count()) as f64;
            mean3d_vne() * (of_layer as f64 / all) + tokens2d.means() * (tokens2d.count() as f64 / all)
        }
    }
}

/// The mean of the question's embeddings, (B, E); a question without tokens gives zeros.
pub(crate) fn mean_embedding(embeddings_bte: &Tensor, mask_bt: &Tensor) -> Tensor {
    let mask_b1t = mask_bt.to_kind(embeddings_bte.kind()).unsqueeze(1);
    let count_b1 = mask_b1t.sum_dim_intlist([2i64].as_slice(), false, None::<Kind>).clamp_min(1.0);
    mask_b1t.bmm(embeddings_bte).squeeze_dim(1) / count_b1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Aggregate;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn input<'a>(slices_mne: Option<&'a Tensor>, text_me: Option<&'a Tensor>, slice_count: i64) -> ScorerInput<'a> {
        let mentions = text_me.map_or(1, |text_me| text_me.size()[0]);
        ScorerInput { slices_mne, text_me, draws_mn: None, mentions, slice_count, device: Device::Cpu }
    }

    fn fixed(scorer: &dyn SliceScorer) -> Vec<f64> {
        Vec::try_from(scores(&scorer.relevance(&input(None, None, 6)), None).squeeze()).unwrap()
    }

    #[test]
    fn uniform_gives_each_slice_its_share() {
        assert!(fixed(&Uniform).into_iter().all(|score| (score - 1.0 / 6.0).abs() < 1e-7));
    }

    #[test]
    fn draws_depend_on_the_text_and_the_mentions_place_alone() {
        let drawn = |text_keys: &[u64], texts: &[i64]| -> Vec<Vec<f32>> {
            mention_keys(text_keys, texts).into_iter().map(|key| normal_draws(key, 6)).collect()
        };
        let together = drawn(&[7, 8, 9], &[0, 1, 1, 2]);
        assert_eq!(together[0], drawn(&[7], &[0])[0]);
        assert_eq!(together[1..3], drawn(&[8], &[0, 0]));
        assert_eq!(together[3], drawn(&[1, 9], &[1])[0]);
        assert!(together.iter().enumerate().all(|(i, row)| together[..i].iter().all(|other| other != row)));
        let draws_mn = Tensor::from_slice2(&together);
        let input = ScorerInput { draws_mn: Some(&draws_mn), mentions: 4, ..input(None, None, 6) };
        let sums = scores(&Random.relevance(&input), None).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-5);
    }

    #[test]
    fn random_draws_are_normal() {
        let drawn: Vec<f32> = (0..2000).flat_map(|key| normal_draws(key, 33)).collect();
        let drawn = Tensor::from_slice(&drawn).to_kind(Kind::Double);
        let count = (2000.0f64 * 33.0).sqrt();
        // Mean, variance and fourth moment of the normal distribution, within five standard deviations.
        for (power, expected, deviation) in [(1, 0.0, 1.0), (2, 1.0, 2f64.sqrt()), (4, 3.0, 96f64.sqrt())] {
            let moment = drawn.pow_tensor_scalar(power).mean(Kind::Double).double_value(&[]);
            assert!((moment - expected).abs() < 5.0 * deviation / count, "{power}: {moment}");
        }
    }

    #[test]
    fn gauss_is_the_normalized_bell() {
        let bell: Vec<f64> = (0..6).map(|i| (-(i as f64 - 2.5).powi(2) / 2.0).exp()).collect();
        let sum: f64 = bell.iter().sum();
        fixed(&Gauss).iter().zip(bell).for_each(|(score, bell)| assert!((score - bell / sum).abs() < 1e-6));
    }

    #[test]
    fn equal_slices_score_the_same_whatever_is_asked() {
        let (slices_mne, text_me) = (Tensor::ones([2, 32, 8], CPU), Tensor::randn([2, 8], CPU));
        let scorer = TextGuided { temperature: 5.0, projection: None };
        let input = input(Some(&slices_mne), Some(&text_me), 32);
        let scores_mn = scores(&scorer.relevance(&input), None);
        assert!((scores_mn - 1.0 / 32.0).abs().max().double_value(&[]) < 1e-7);
    }

    #[test]
    fn a_depth_layer_belongs_to_the_slices_that_it_covers() {
        // Two layers of two 3D tokens with values 0 0 | 6 6, four slices of one 2D token with value 3.
        let tokens3d_vpe = Tensor::from_slice(&[0f32, 0.0, 6.0, 6.0]).view([1, 4, 1]);
        let tokens2d = SliceTokens::new(Tensor::full([1, 4, 1, 1], 3.0, CPU), None, Aggregate::Scores);
        let features = |local| -> Vec<f64> {
            Vec::try_from(slice_features(local, Some(&tokens3d_vpe), &tokens2d, 4, 2).squeeze()).unwrap()
        };
        assert_eq!(features(LocalFeature::Vision3d), [0.0, 0.0, 6.0, 6.0]);
        assert_eq!(features(LocalFeature::Both), [1.0, 1.0, 5.0, 5.0]);
        assert_eq!(features(LocalFeature::Vision2d), [3.0; 4]);
    }

    #[test]
    fn padding_of_a_question_does_not_count() {
        let embeddings_bte = Tensor::from_slice(&[1f32, 3.0, 99.0]).view([1, 3, 1]);
        let mean = |mask: [bool; 3]| mean_embedding(&embeddings_bte, &Tensor::from_slice(&mask).view([1, 3]));
        assert_eq!(mean([true, true, false]).double_value(&[0, 0]), 2.0);
        assert_eq!(mean([false; 3]).double_value(&[0, 0]), 0.0);
    }
}
