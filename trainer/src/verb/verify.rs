//! Whether a checkpoint computes what a reference implementation did: runs the model on the reference's inputs and
//! compares what both hold.

use std::path::Path;

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::TrainerError;
use crate::device::DeviceChoice;
use crate::files::model_files::ModelFiles;
use crate::files::weights_file::WeightsFile;
use crate::model::{Med2e3, ModelInput, PaddedTexts, Part, Preset, TargetWeights, Variant};
use crate::precision::Precision;

/// How closely f32 on any device follows a reference in f32, and how far the variants of a model are apart.
pub const DEFAULT_TOLERANCE: f64 = 1e-5;

/// What is compared, and how closely.
#[derive(Clone, Debug)]
pub struct Verification<'a> {
    /// A folder of a model, see [`ModelFiles::open`].
    pub checkpoint: &'a Path,
    /// Tensors: `input.*`, `expect.*`, see [`verify`].
    pub reference: &'a Path,
    /// What joins the parts, where the folder does not state it.
    pub variant: Option<Preset>,
    /// What the model computes in.
    pub precision: Precision,
    /// See [`Comparison::passes`].
    pub tolerance: f64,
    /// Where to run.
    pub device: DeviceChoice,
}

/// One tensor of the reference compared with the model's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Its name without `expect.`.
    pub name: String,
    /// Elements compared.
    pub elements: usize,
    /// The largest absolute difference of two elements.
    pub absolute: f64,
    /// That difference divided by the reference's largest absolute value.
    pub relative: f64,
    /// Whether the largest difference is at most the tolerance times the reference's largest value or 1, whichever is more;
    /// for gradient norms, which gather the rounding of a whole backward pass, ten tolerances times the norm itself.
    pub passes: bool,
}

/// Everything compared.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// The variant's choices.
    pub variant: Variant,
    /// The preset that the weights show, where none was named.
    pub inferred: Option<Preset>,
    /// Number of tensors in the checkpoint's files that the model does not use.
    pub passed_over: usize,
    /// One for each tensor of the reference.
    pub comparisons: Vec<Comparison>,
}

impl VerifyReport {
    /// Whether every comparison passes.
    pub fn passes(&self) -> bool {
        self.comparisons.iter().all(|comparison| comparison.passes)
    }
}

/// Runs the model, dropout off, and compares. The reference holds `input.volume` (B, 1, D, H, W), `input.ids` (B, T; -201
/// marks a volume), `input.mask`, `input.labels`, `input.question_ids`, `input.question_mask`, and any of `expect.z3d`
/// (B, P, E), `expect.z2d` (B, N, Q, E), `expect.scores` (B, N), `expect.visual` (B, S, E), `expect.logits` (B, spliced T, V)
/// with `expect.logits_mask`, `expect.loss`, `expect.grad_norm.PART`.
///
/// # Errors
/// Files that do not read or fit together; a reference without inputs, with nothing to compare, or with an input or
/// expectation of another name.
pub fn verify(verification: &Verification<'_>) -> Result<VerifyReport, TrainerError> {
    let device = verification.device.open(0)?;
    let reference = Reference { file: WeightsFile::open(verification.reference)?, device };
    let files = ModelFiles::open(verification.checkpoint, verification.variant)?;
    reference.check_names()?;
    let mut loaded = files.load(device, verification.precision.kind())?;
    loaded.model.disable_dropout();
    let passed_over = loaded.passed_over.iter().map(|(_, names)| names.len()).sum();
    let comparisons = compare(&loaded.model, &reference, verification.tolerance)?;
    let (variant, inferred) = (files.config().variant.clone(), files.inferred());
    Ok(VerifyReport { variant, inferred, passed_over, comparisons })
}

fn compare(model: &Med2e3, reference: &Reference, tolerance: f64) -> Result<Vec<Comparison>, TrainerError> {
    let input = reference.input()?;
    let mut comparisons = Vec::new();
    let mut note = |name: &str, found: &Tensor, expected: &Tensor| -> Result<(), TrainerError> {
        comparisons.push(difference(name, found, expected, tolerance, reference)?);
        Ok(())
    };
    let wants = |names: &[&str]| names.iter().any(|name| reference.has(&format!("expect.{name}")));

    if wants(&["z3d", "z2d", "scores", "visual"]) {
        let features = model.visual(&input)?;
        let found = [
            ("z3d", features.tokens3d_vpe.as_ref()),
            ("z2d", features.tokens2d_vnqe.as_ref()),
            ("scores", Some(&features.scores_mn)),
            ("visual", Some(&features.tokens_mse)),
        ];
        for (name, found) in found {
            let Some(expected) = reference.expected(name)? else { continue };
            let found = found
                .ok_or_else(|| reference.error(name, "a tensor that the variant computes", "one that it does not"))?;
            note(name, found, &expected)?;
        }
    }
    if let Some(expected) = reference.expected("logits")? {
        let (logits_rv, positions) = model.logits(&input, reference.get("expect.logits_mask")?.as_ref())?;
        let [batch, width, vocabulary] = expected.size()[..] else {
            return Err(reference.error("logits", "three axes", &format!("{:?}", expected.size())));
        };
        if width != positions.width || batch != positions.rows {
            let needed = format!("({}, {}, ..), as the spliced batch", positions.rows, positions.width);
            return Err(reference.error("logits", &needed, &format!("{:?}", expected.size())));
        }
        let index = Tensor::from_slice(&positions.flat).to_device(expected.device());
        note("logits", &logits_rv, &expected.reshape([-1, vocabulary]).index_select(0, &index))?;
    }
    let norms = Part::ALL.map(|part| (part, format!("grad_norm.{}", part.name())));
    let norm_names: Vec<&str> = norms.iter().map(|(_, name)| name.as_str()).collect();
    if wants(&["loss"]) || wants(&norm_names) {
        model.set_trainable(&Part::ALL);
        let output = model.forward(&input, Some(0))?;
        if let Some(expected) = reference.expected("loss")? {
            note("loss", &output.loss, &expected)?;
        }
        if wants(&norm_names) {
            output.loss.backward();
        }
        for (part, name) in &norms {
            if let Some(expected) = reference.expected(name)? {
                note(name, &gradient_norm(model, *part), &expected)?;
            }
        }
    }
    if comparisons.is_empty() {
        return Err(reference.error("*", "something to compare", "no tensor of these names"));
    }
    Ok(comparisons)
}

/// The norm over all gradients of a part.
fn gradient_norm(model: &Med2e3, part: Part) -> Tensor {
    let grads = model.parameters(part).into_iter().map(|(_, tensor)| tensor.grad()).filter(Tensor::defined);
    let squares: f64 = grads.map(|grad| grad.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[])).sum();
    Tensor::from(squares.sqrt())
}

fn difference(
    name: &str,
    found: &Tensor,
    expected: &Tensor,
    tolerance: f64,
    reference: &Reference,
) -> Result<Comparison, TrainerError> {
    let wide = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    let (found, expected) = (wide(found), wide(expected));
    // Scores may have one more axis of one entry.
    let expected = if expected.numel() == found.numel() { expected.reshape_as(&found) } else { expected };
    if found.size() != expected.size() {
        return Err(reference.error(
            name,
            &format!("{:?}, as the model gives", found.size()),
            &format!("{:?}", expected.size()),
        ));
    }
    let largest = |tensor: &Tensor| if tensor.numel() == 0 { 0.0 } else { tensor.abs().max().double_value(&[]) };
    let (absolute, scale) = (largest(&(&found - &expected)), largest(&expected));
    let is_norm = name.starts_with("grad_norm.");
    let allowed = if is_norm { 10.0 * tolerance * scale } else { tolerance * scale.max(1.0) };
    // False for NaN on either side.
    let passes = absolute <= allowed;
    let relative = if absolute == 0.0 { 0.0 } else { absolute / scale };
    Ok(Comparison { name: name.to_owned(), elements: found.numel(), absolute, relative, passes })
}

/// The reference's file.
struct Reference {
    file: WeightsFile,
    device: Device,
}

impl Reference {
    fn has(&self, name: &str) -> bool {
        self.file.names().any(|given| given == name)
    }

    fn get(&self, name: &str) -> Result<Option<Tensor>, TrainerError> {
        if self.has(name) { self.file.tensor(name, Device::Cpu, None).map(Some) } else { Ok(None) }
    }

    fn expected(&self, name: &str) -> Result<Option<Tensor>, TrainerError> {
        self.get(&format!("expect.{name}"))
    }

    fn input(&self) -> Result<ModelInput, TrainerError> {
        let needed = |name: &str| {
            let tensor = self.get(&format!("input.{name}"))?;
            tensor.ok_or_else(|| TrainerError::File {
                path: self.file.path().to_owned(),
                expected: format!("a tensor input.{name}"),
                found: "none".into(),
            })
        };
        let ids_bt = needed("ids")?.to_kind(Kind::Int64);
        let lengths_b = match self.get("input.mask")? {
            Some(mask_bt) => self.lengths(&mask_bt, &ids_bt)?,
            None => vec![*ids_bt.size().last().unwrap_or(&0); *ids_bt.size().first().unwrap_or(&0) as usize],
        };
        // A variant that does not read the question needs none.
        let question_ids_bt = if self.has("input.question_ids") {
            needed("question_ids")?.to_kind(Kind::Int64)
        } else {
            Tensor::zeros([lengths_b.len() as i64, 1], (Kind::Int64, Device::Cpu))
        };
        let question_mask_bt = match self.get("input.question_mask")? {
            Some(mask_bt) => mask_bt.ne(0),
            None => question_ids_bt.ones_like().to_kind(Kind::Bool),
        };
        let labels_bt = self.get("input.labels")?.map(|labels_bt| labels_bt.to_kind(Kind::Int64));
        let padded = PaddedTexts {
            ids_bt: &ids_bt,
            lengths_b: &lengths_b,
            labels_bt: labels_bt.as_ref(),
            question_ids_bt: &question_ids_bt,
            question_mask_bt: &question_mask_bt,
        };
        Ok(ModelInput {
            voxels_vcdhw: needed("volume")?.to_device(self.device).to_kind(Kind::Float),
            texts: padded.texts()?,
            weights: TargetWeights::Mean,
        })
    }

    /// Tokens of each row: the mask must be ones, then zeros.
    fn lengths(&self, mask_bt: &Tensor, ids_bt: &Tensor) -> Result<Vec<i64>, TrainerError> {
        let mask_bt = mask_bt.ne(0).to_kind(Kind::Int64);
        if mask_bt.size() != ids_bt.size() || mask_bt.dim() != 2 {
            return Err(self.error_at(
                "input.mask",
                &format!("{:?}, as the ids", ids_bt.size()),
                &format!("{:?}", mask_bt.size()),
            ));
        }
        let lengths_b = mask_bt.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        let positions_1t = Tensor::arange(mask_bt.size()[1], (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let right_padded = positions_1t.lt_tensor(&lengths_b.unsqueeze(1)).to_kind(Kind::Int64);
        if !right_padded.equal(&mask_bt) {
            return Err(self.error_at("input.mask", "rows padded on the right", "ones after zeros"));
        }
        Ok(Vec::try_from(lengths_b).expect("a flat i64 tensor"))
    }

    /// Fails for an input or expectation of an unknown name, which is probably a misspelling. Other tensors are allowed.
    fn check_names(&self) -> Result<(), TrainerError> {
        const KNOWN: [&str; 13] = [
            "input.volume",
            "input.ids",
            "input.mask",
            "input.labels",
            "input.question_ids",
            "input.question_mask",
            "expect.z3d",
            "expect.z2d",
            "expect.scores",
            "expect.visual",
            "expect.logits",
            "expect.logits_mask",
            "expect.loss",
        ];
        let is_norm = |name: &str| Part::ALL.iter().any(|part| name == format!("expect.grad_norm.{}", part.name()));
        let is_checked = |name: &str| name.starts_with("input.") || name.starts_with("expect.");
        match self.file.names().find(|name| is_checked(name) && !KNOWN.contains(name) && !is_norm(name)) {
            None => Ok(()),
            Some(name) => Err(TrainerError::File {
                path: self.file.path().to_owned(),
                expected: format!("tensors named {} or expect.grad_norm.PART", KNOWN.join(", ")),
                found: format!("`{name}`"),
            }),
        }
    }

    fn error(&self, name: &str, expected: &str, found: &str) -> TrainerError {
        self.error_at(&format!("expect.{name}"), expected, found)
    }

    fn error_at(&self, name: &str, expected: &str, found: &str) -> TrainerError {
        TrainerError::File {
            path: self.file.path().to_owned(),
            expected: format!("{name}: {expected}"),
            found: found.to_owned(),
        }
    }
}
