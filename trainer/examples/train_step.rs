//! Times one training step of the model or of one part of it on the CPU, on weights and inputs that
//! `tests/peers/train_step.py` has written, and prints one JSON line; that script states the work and runs its peer.
//!
//! Usage: `train_step FOLDER PART --steps N --warmup N --threads N`, as the script calls it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use med2e3_program::Stopwatch;
use med2e3_trainer::device::DeviceChoice;
use med2e3_trainer::files::weights_file::WeightsFile;
use med2e3_trainer::model::loss::{Targets, next_token_loss};
use med2e3_trainer::model::{
    Aggregate, ConnectorKind, LanguageModelConfig, M3dClipVisionConfig, Med2e3, Med2e3Config, Part, Preset,
    SiglipVisionConfig, SliceNorm, Variant,
};
use med2e3_trainer::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};
use tch::{Device, Kind, Tensor};

const WIDTH: i64 = 256;
/// Ids that the visual tokens replace.
const VISUAL_TOKENS: i64 = 256;
const FIRST_TARGET: i64 = 288;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [folder, part, "--steps", steps, "--warmup", warmup, "--threads", threads] = words.as_slice() else {
        bail!("usage: train_step FOLDER PART --steps N --warmup N --threads N");
    };
    let (steps, warmup): (usize, usize) = (steps.parse()?, warmup.parse()?);
    let device = DeviceChoice::Cpu.open(threads.parse()?)?;
    let work = Work::open(Path::new(folder), part, device)?;
    let trained = Trained::all(work.model.trainable(), Kind::Float, Rates::default());
    let mut optimizer = AdamW::new(trained, AdamWConfig::default())?;

    let start_mib = peak_mib()?;
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for step in 0..warmup + steps {
        let watch = Stopwatch::start();
        let loss = work.loss()?;
        let forwarded = watch.seconds();
        loss.backward();
        let backwarded = watch.seconds();
        optimizer.step(1e-4)?;
        optimizer.zero_grad()?;
        let end = watch.seconds();
        losses.push(loss.double_value(&[]));
        if step >= warmup {
            times.push([forwarded, backwarded - forwarded, end - backwarded].map(|seconds| 1e3 * seconds));
        }
    }
    let found = serde_json::json!({
        "part": part, "steps_ms": times, "losses": losses, "start_mib": start_mib, "peak_mib": peak_mib()?
    });
    println!("{found}");
    Ok(())
}

/// A model of which only the measured parts have weights, and its inputs.
struct Work {
    part: String,
    model: Med2e3,
    voxels_bcdhw: Tensor,
    ids_bt: Tensor,
}

impl Work {
    fn open(folder: &Path, part: &str, device: Device) -> Result<Work> {
        let mut model = Med2e3::unloaded(&config(), device, Kind::Float)?;
        let parts: &[Part] = match part {
            "vit3d" => &[Part::Vision3dModel],
            "siglip" => &[Part::Vision2dModel],
            "phi3" => &[Part::Llm],
            "full" => &Part::ALL,
            _ => bail!("part: vit3d, siglip, phi3 or full expected, found {part}"),
        };
        for &loaded in parts {
            let weights = WeightsFile::open(&folder.join(part).join(format!("{loaded}.safetensors")))?;
            let passed_over = model.load(loaded, &weights.shapes(), |name| weights.tensor(name, device, None))?;
            ensure!(passed_over.is_empty(), "{loaded}: no use for {passed_over:?}");
        }
        model.set_trainable(parts);
        let inputs = WeightsFile::open(&folder.join("inputs.safetensors"))?;
        let (voxels_bcdhw, ids_bt) = (inputs.tensor("voxels", device, None)?, inputs.tensor("ids", device, None)?);
        Ok(Work { part: part.to_owned(), model, voxels_bcdhw, ids_bt })
    }

    fn loss(&self) -> Result<Tensor> {
        let mean_square = |features: Tensor| features.square().mean(None::<Kind>);
        Ok(match self.part.as_str() {
            "vit3d" => mean_square(self.features3d()?),
            "siglip" => mean_square(self.features2d()?),
            "phi3" => self.text_loss(&self.model.llm().embed(&self.ids_bt))?,
            _ => {
                let [grid_d, grid_h, grid_w] = config().vision3d.grid();
                let pooled_bpe = self
                    .features3d()?
                    .reshape([-1, grid_d / 2, 2, grid_h / 2, 2, grid_w / 2, 2, WIDTH].as_slice())
                    .mean_dim([2i64, 4, 6].as_slice(), false, None::<Kind>)
                    .flatten(1, 3);
                let mean_bqe = self.features2d()?.mean_dim([0i64].as_slice(), true, None::<Kind>);
                let visual_bqe =
                    self.mapped(Part::Vision3dConnector, &pooled_bpe) + self.mapped(Part::Vision2dConnector, &mean_bqe);
                let text_bte = self.model.llm().embed(&self.ids_bt);
                let text_bte = text_bte.narrow(1, VISUAL_TOKENS, text_bte.size()[1] - VISUAL_TOKENS);
                self.text_loss(&Tensor::cat(&[visual_bqe, text_bte], 1))?
            }
        })
    }

    fn features3d(&self) -> Result<Tensor> {
        let encoder = self.model.encoder3d().context("the variant has a 3D encoder")?;
        Ok(encoder.forward(&self.voxels_bcdhw)?)
    }

    /// After the published last norm, which the encoder carries for export only and the peer's features have gone through.
    fn features2d(&self) -> Result<Tensor> {
        let encoder = self.model.encoder2d().context("the variant has a 2D encoder")?;
        let features_bqe = encoder.forward(&self.voxels_bcdhw.flatten(0, 2), SliceNorm::Siglip)?;
        let parameters = self.model.parameters(Part::Vision2dModel);
        let [(_, weight), (_, bias)] = parameters.last_chunk().context("the part ends with its norm")?;
        let eps = config().vision2d.layer_norm_eps;
        Ok(features_bqe.layer_norm([WIDTH], Some(weight), Some(bias), eps, true))
    }

    /// Through a connector of one map.
    fn mapped(&self, part: Part, x: &Tensor) -> Tensor {
        let parameters = self.model.parameters(part);
        x.linear(&parameters[0].1, Some(&parameters[1].1))
    }

    fn text_loss(&self, embeddings_bte: &Tensor) -> Result<Tensor> {
        let length = embeddings_bte.size()[1];
        let hidden_bte = self.model.llm().forward(embeddings_bte, &[length as usize], Some(0))?;
        let positions: Vec<i64> = (FIRST_TARGET - 1..length - 1).collect();
        let ids: Vec<i64> = Vec::try_from(self.ids_bt.narrow(1, FIRST_TARGET, length - FIRST_TARGET).flatten(0, 1))?;
        let weights_r = Tensor::full([ids.len() as i64], 1.0 / ids.len() as f64, (Kind::Float, Device::Cpu));
        let (positions_r, ids_r) = (&Tensor::from_slice(&positions), &Tensor::from_slice(&ids));
        let targets = Targets { positions_r, ids_r, weights_r: &weights_r };
        Ok(next_token_loss(self.model.llm().output_embedding(), &hidden_bte, &targets).weighted)
    }
}

/// The sizes of the peer's parts.
fn config() -> Med2e3Config {
    let (heads, mlp, blocks) = (4, 1024, 4);
    let published = Med2e3Config::of_preset(Preset::Paper);
    Med2e3Config {
        llm: LanguageModelConfig {
            hidden_size: WIDTH,
            intermediate_size: mlp,
            num_hidden_layers: blocks,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            max_position_embeddings: 1024,
            sliding_window: None,
            full_attention_layers: Vec::new(),
            ..published.llm
        },
        vision2d: SiglipVisionConfig {
            hidden_size: WIDTH,
            intermediate_size: mlp,
            num_hidden_layers: blocks,
            num_attention_heads: heads,
            ..published.vision2d
        },
        vision3d: M3dClipVisionConfig {
            hidden_size: WIDTH,
            mlp_dim: mlp,
            num_layers: blocks,
            num_heads: heads,
            ..published.vision3d
        },
        variant: Variant {
            // No weights of a scorer: the slices' mean is taken.
            aggregate: Aggregate::Mean,
            final_norm: true,
            connector3d: ConnectorKind::Linear,
            connector2d: ConnectorKind::Linear,
            ..published.variant
        },
        ..published
    }
}

/// The most memory that the process has held so far.
fn peak_mib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel states VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
