//! Text-guided inter-slice scoring and its alternatives: how much each slice counts.
//!
//! A scorer gives one number a slice; the softmax over slices is the same for all of them and is in this file.

mod fixed;
mod linear;
mod text_guided;

use tch::{Device, Kind, Tensor};

pub(crate) use fixed::{Gauss, Random, Uniform};
pub(crate) use linear::LinearScorer;
pub(crate) use text_guided::TextGuided;

use super::config::{LocalFeature, Scorer, TextFeature, Variant};
use super::layers::{Init, Linear};

/// What a scorer may read, for one batch of volumes.
pub(crate) struct ScorerInput<'a> {
    /// (B, N, E), one feature a slice. None where the variant's scorer reads no feature.
    pub(crate) slices_bne: Option<&'a Tensor>,
    /// (B, E of the text), one feature a question. None where the scorer does not read the question.
    pub(crate) text_be: Option<&'a Tensor>,
    /// Volumes of the batch.
    pub(crate) volumes: i64,
    /// Slices of a volume.
    pub(crate) slice_count: i64,
    /// The device of the scores.
    pub(crate) device: Device,
    /// One a volume, from which a scorer draws.
    pub(crate) keys: &'a [u64],
}

/// One number a slice, before the softmax.
pub(crate) trait SliceScorer {
    /// (B, N), any real numbers.
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

/// (B, N) of relevance to scores in 0..1 that sum to 1 over the slices; in f32 whatever the model's kind, then back.
/// Dropout comes after the softmax, so in training scores need not sum to 1.
pub(crate) fn scores(relevance_bn: &Tensor, dropout: f64, train: bool) -> Tensor {
    let scores_bn = relevance_bn.softmax(-1, Kind::Float);
    if train && dropout > 0.0 { scores_bn.dropout(dropout, true) } else { scores_bn }
}

/// One key a volume: of its row, and of its place among the row's volumes. `samples` holds each volume's row, whose
/// number is the key where it has none.
pub(crate) fn volume_keys(keys_b: &[u64], samples: &[i64]) -> Vec<u64> {
    let place = |volume: usize| samples[..volume].iter().filter(|row| **row == samples[volume]).count() as u64;
    let key = |(volume, row): (usize, &i64)| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&keys_b.get(*row as usize).copied().unwrap_or(*row as u64).to_le_bytes());
        hasher.update(&place(volume).to_le_bytes());
        let hash = hasher.finalize();
        let (first, _) = hash.as_bytes().as_chunks::<8>();
        u64::from_le_bytes(first[0])
    };
    samples.iter().enumerate().map(key).collect()
}

/// One feature a slice, (B, N, E). A depth layer of 3D tokens belongs to the N / depth slices that it covers.
///
/// `tokens3d_bpe` (B, P, E) has its P tokens depth slowest in `depth` layers; `tokens2d_bnqe` is (B, N, Q, E).
pub(crate) fn slice_features(
    local: LocalFeature,
    tokens3d_bpe: Option<&Tensor>,
    tokens2d_bnqe: &Tensor,
    depth: i64,
) -> Tensor {
    let (_, slices, tokens2d, _) = tokens2d_bnqe.size4().expect("2D tokens have four axes");
    let mean = |x: &Tensor| x.mean_dim([2i64].as_slice(), false, None::<Kind>);
    let mean3d_bne = || {
        let layers_bdpe = tokens3d_bpe.expect("the variant makes 3D tokens").unflatten(1, [depth, -1]);
        mean(&layers_bdpe).repeat_interleave_self_int(slices / depth, 1, slices)
    };
    match local {
        LocalFeature::Vision2d => mean(tokens2d_bnqe),
        LocalFeature::Vision3d => mean3d_bne(),
        LocalFeature::Both => {
            // The mean over both kinds of tokens together, without a copy of them in one tensor.
            let tokens3d = tokens3d_bpe.expect("the variant makes 3D tokens").size()[1] / depth;
            let all = (tokens3d + tokens2d) as f64;
            mean3d_bne() * (tokens3d as f64 / all) + mean(tokens2d_bnqe) * (tokens2d as f64 / all)
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

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn input<'a>(slices_bne: Option<&'a Tensor>, text_be: Option<&'a Tensor>, slice_count: i64) -> ScorerInput<'a> {
        let volumes = text_be.map_or(1, |text_be| text_be.size()[0]);
        ScorerInput { slices_bne, text_be, volumes, slice_count, device: Device::Cpu, keys: &[] }
    }

    fn fixed(scorer: &dyn SliceScorer) -> Vec<f64> {
        Vec::try_from(scores(&scorer.relevance(&input(None, None, 6)), 0.0, false).squeeze()).unwrap()
    }

    #[test]
    fn uniform_gives_each_slice_its_share() {
        assert!(fixed(&Uniform).into_iter().all(|score| (score - 1.0 / 6.0).abs() < 1e-7));
    }

    #[test]
    fn random_scores_depend_on_the_row_and_the_volumes_place_alone() {
        let drawn = |keys_b: &[u64], samples: &[i64]| -> Vec<Vec<f32>> {
            let keys = volume_keys(keys_b, samples);
            let volumes = samples.len() as i64;
            let (slices_bne, text_be, slice_count, device) = (None, None, 6, Device::Cpu);
            let input = ScorerInput { slices_bne, text_be, volumes, slice_count, device, keys: &keys };
            Vec::try_from(scores(&Random.relevance(&input), 0.0, false)).unwrap()
        };
        let together = drawn(&[7, 8, 9], &[0, 1, 1, 2]);
        assert_eq!(together[0], drawn(&[7], &[0])[0]);
        assert_eq!(together[1..3], drawn(&[8], &[0, 0]));
        assert_eq!(together[3], drawn(&[1, 9], &[1])[0]);
        for (i, row) in together.iter().enumerate() {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            assert!(together[..i].iter().all(|other| other != row));
        }
    }

    #[test]
    fn random_relevance_is_normal() {
        let keys: Vec<u64> = (0..2000).collect();
        let (slices_bne, text_be, slice_count, device) = (None, None, 33, Device::Cpu);
        let input = ScorerInput { slices_bne, text_be, volumes: 2000, slice_count, device, keys: &keys };
        let drawn = Random.relevance(&input).to_kind(Kind::Double);
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
        let (slices_bne, text_be) = (Tensor::ones([2, 32, 8], CPU), Tensor::randn([2, 8], CPU));
        let scorer = TextGuided { temperature: 5.0, projection: None };
        let input = input(Some(&slices_bne), Some(&text_be), 32);
        let scores_bn = scores(&scorer.relevance(&input), 0.0, false);
        assert!((scores_bn - 1.0 / 32.0).abs().max().double_value(&[]) < 1e-7);
    }

    #[test]
    fn a_depth_layer_belongs_to_the_slices_that_it_covers() {
        // Two layers of two 3D tokens with values 0 0 | 6 6, four slices of one 2D token with value 3.
        let tokens3d_bpe = Tensor::from_slice(&[0f32, 0.0, 6.0, 6.0]).view([1, 4, 1]);
        let tokens2d_bnqe = Tensor::full([1, 4, 1, 1], 3.0, CPU);
        let features = |local| -> Vec<f64> {
            Vec::try_from(slice_features(local, Some(&tokens3d_bpe), &tokens2d_bnqe, 2).squeeze()).unwrap()
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
