//! M3D-CLIP's training: the loss of all pairs of a step, and its gradients, from any number of parts of the step.
//!
//! Every pair is compared with every other, so the loss needs the features of the whole step at once, but not the graphs behind
//! them (Gao et al. 2021, gradient caching). Features are made without a graph, part by part; the loss gives its gradients by them;
//! then each part is read again with a graph, which takes those gradients on to the weights. The result is that of one graph but
//! for the order of sums.

use tch::{Kind, Tensor, no_grad};

use super::M3dClip;
use super::error::ModelError;

/// Pairs that are read at once, on the model's device.
pub struct PairBatch {
    /// (B, C, D, H, W), values in 0..1.
    pub voxels_bcdhw: Tensor,
    /// i64, (B, T): a text a volume, with start and end token, padded to the right. May stay on the CPU.
    pub ids_bt: Tensor,
    /// Bool, true at tokens. May stay on the CPU.
    pub mask_bt: Tensor,
    /// One a text in training: what the text encoder drops of it depends on its key alone, so that both readings of a part drop the
    /// same. None drops nothing.
    pub keys_b: Option<Vec<u64>>,
}

/// What is known of a step's pairs, or of those of a measurement.
pub struct Contrast {
    /// The symmetric loss, f32 scalar without a graph.
    pub loss: Tensor,
    /// Volumes whose own text is the most similar, i64 scalar.
    pub correct_count: Tensor,
}

impl M3dClip {
    /// Adds the gradients of the loss over all pairs of a step to the trained weights. `part` gives one of so many parts of it, in
    /// order, and is asked for each of them twice where there are several.
    ///
    /// # Errors
    /// Shapes that do not fit the config; what `part` fails with.
    pub fn add_gradients<E: From<ModelError>>(
        &self,
        parts: usize,
        mut part: impl FnMut(usize) -> Result<PairBatch, E>,
    ) -> Result<Contrast, E> {
        if parts == 1 {
            let [image_be, text_be] = self.encode(&part(0)?)?;
            let contrast = self.contrast(&image_be, &text_be)?;
            contrast.loss.backward();
            return Ok(contrast.detached());
        }
        let (mut images, mut texts) = (Vec::new(), Vec::new());
        for number in 0..parts {
            let pairs = part(number)?;
            let [image_be, text_be] = no_grad(|| self.encode(&pairs))?;
            images.push(image_be);
            texts.push(text_be);
        }
        let rows: Vec<i64> = images.iter().map(|image_be| image_be.size()[0]).collect();
        let [image_be, text_be] = [images, texts].map(|features| Tensor::cat(&features, 0).set_requires_grad(true));
        let contrast = self.contrast(&image_be, &text_be)?;
        contrast.loss.backward();
        let (image_grad_be, text_grad_be) = (image_be.grad(), text_be.grad());
        let mut first = 0;
        for (number, rows) in rows.into_iter().enumerate() {
            let [image_be, text_be] = self.encode(&part(number)?)?;
            let of_part = |grad_be: &Tensor| grad_be.narrow(0, first, rows);
            // Its gradient by a feature is what the loss has found.
            let sum = (image_be * of_part(&image_grad_be)).sum(Kind::Float)
                + (text_be * of_part(&text_grad_be)).sum(Kind::Float);
            sum.backward();
            first += rows;
        }
        Ok(contrast.detached())
    }

    /// Loss and right ones of pairs, read part by part without a graph.
    ///
    /// # Errors
    /// As [`M3dClip::add_gradients`].
    pub fn measure<E: From<ModelError>>(
        &self,
        parts: impl IntoIterator<Item = Result<PairBatch, E>>,
    ) -> Result<Contrast, E> {
        let (mut images, mut texts) = (Vec::new(), Vec::new());
        for pairs in parts {
            let pairs = pairs?;
            let [image_be, text_be] = no_grad(|| self.encode(&pairs))?;
            images.push(image_be);
            texts.push(text_be);
        }
        Ok(no_grad(|| self.contrast(&Tensor::cat(&images, 0), &Tensor::cat(&texts, 0)))?)
    }

    fn encode(&self, pairs: &PairBatch) -> Result<[Tensor; 2], ModelError> {
        let PairBatch { voxels_bcdhw, ids_bt, mask_bt, keys_b } = pairs;
        Ok([self.encode_image(voxels_bcdhw)?, self.encode_text(ids_bt, mask_bt, keys_b.as_deref())?])
    }

    fn contrast(&self, image_be: &Tensor, text_be: &Tensor) -> Result<Contrast, ModelError> {
        let loss = self.loss(image_be, text_be)?;
        let own_b = Tensor::arange(image_be.size()[0], (Kind::Int64, image_be.device()));
        let found_b = no_grad(|| image_be.matmul(&text_be.transpose(0, 1)).argmax(1, false));
        Ok(Contrast { loss, correct_count: found_b.eq_tensor(&own_b).sum(Kind::Int64) })
    }
}

impl Contrast {
    fn detached(self) -> Contrast {
        Contrast { loss: self.loss.detach(), ..self }
    }
}
