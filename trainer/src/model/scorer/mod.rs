//! Text-guided inter-slice scoring and its rivals: how much each slice counts.
//!
//! A scorer gives one number a slice; the softmax over slices is the same for all of them and stands here.

mod fixed;
mod linear;
mod text_guided;

use tch::{Kind, Tensor};

pub(crate) use fixed::{Gauss, Random, Uniform};
pub(crate) use linear::LinearScorer;
pub(crate) use text_guided::TextGuided;

use super::config::{LocalFeature, Scorer, Variant};
use super::layers::{Init, Linear};

/// What a scorer may look at, for one batch of volumes.
pub(crate) struct Evidence<'a> {
    /// One feature a slice. None where the variant's scorer looks at no feature.
    pub(crate) slices_bne: Option<&'a Tensor>,
    /// One feature a question.
    pub(crate) text_be: &'a Tensor,
    /// Slices of a volume.
    pub(crate) slice_count: i64,
}

/// One number a slice, before the softmax.
pub(crate) trait SliceScorer {
    /// (B, N), any real numbers.
    fn relevance(&self, evidence: &Evidence) -> Tensor;

    /// The scorer's only trained layer, where it has one.
    fn head(&self) -> Option<&Linear> {
        None
    }
}

/// The scorer that the variant names; `width` is the language model's.
pub(crate) fn build(variant: &Variant, width: i64, init: &Init) -> Box<dyn SliceScorer> {
    match variant.scorer {
        Scorer::TextGuided => Box::new(TextGuided { temperature: variant.temperature }),
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

/// One feature a slice, (B, N, E). A depth layer of 3D tokens serves the N / depth slices that it covers.
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
            // The mean over both kinds of tokens together, without laying them side by side.
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
