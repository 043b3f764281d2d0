//! What rows begin with: the same sizes or weights, under each row's variant.

use std::collections::HashMap;
use std::path::Path;

use tch::{Device, Tensor, no_grad};
use toml::Table;

use crate::TrainerError;
use crate::config::{AblateConfig, Start};
use crate::files::checkpoint::{Checkpoint, Contents, snapshot};
use crate::files::model_files::ModelFiles;
use crate::machine::check_memory;
use crate::model::{Med2e3, Med2e3Config, Part, Preset, Variant};
use crate::words::Word;

/// What every row begins with.
pub(super) struct Ground {
    config: Med2e3Config,
    /// Where weights are taken from; they are drawn without it.
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Ground {
    /// # Errors
    /// A checkpoint that does not read; a variant that is not the base row's.
    pub(super) fn open(config: &AblateConfig) -> Result<Ground, TrainerError> {
        let (ground, key) = match &config.start {
            Start::Fresh(sizes) => (Ground { config: (**sizes).clone(), checkpoint: None }, "start.fresh.variant"),
            Start::Checkpoint(path) => {
                let checkpoint = Checkpoint::open(path)?;
                let sizes = ModelFiles::open(checkpoint.folder(), None)?.config().clone();
                (Ground { config: sizes, checkpoint: Some(checkpoint) }, "start.checkpoint: variant")
            }
        };
        let stated = &ground.config.variant;
        let base = stated.counting_as(&config.base.preset().variant());
        let [stated, base] = [stated, &base].map(|variant| Table::try_from(variant).expect("plain data"));
        let differing = base.iter().find(|(choice, value)| stated.get(*choice) != Some(value));
        match differing {
            Some((choice, value)) => Err(TrainerError::Config {
                key: format!("{key}.{choice}"),
                expected: format!("{value}, as the base row {} has it", config.base.as_str()),
                found: stated.get(choice).map_or("nothing".into(), ToString::to_string),
            }),
            None => Ok(ground),
        }
    }

    /// The model of a row, in sizes.
    pub(super) fn sizes_of(&self, row: Preset) -> Med2e3Config {
        varied(&self.config, &row.variant())
    }
}

/// Sizes with a row's choices; a text encoder only where the row reads questions through one.
fn varied(config: &Med2e3Config, row: &Variant) -> Med2e3Config {
    let variant = config.variant.counting_as(row);
    let text_encoder = config.text_encoder.clone().filter(|_| variant.needs_text_encoder());
    Med2e3Config { variant, text_encoder, ..config.clone() }
}

/// Which weights of a checkpoint a row takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Encoders and language model; connectors are drawn from the seed, as before stage 1.
    Towers,
    /// All; what the checkpoint lacks of a connector's part (a scorer's own layer) is drawn from the seed.
    All,
}

/// Writes the weights of a checkpoint under a row's variant to `out`, a checkpoint without a training state.
///
/// # Errors
/// The checkpoint lacks weights that the row builds; the memory does not hold both models; the system refuses.
pub(super) fn write_varied(
    source: &Checkpoint,
    row: Preset,
    taken: Taken,
    seed: u64,
    out: &Path,
) -> Result<(), TrainerError> {
    let own = ModelFiles::open(source.folder(), None)?;
    let shapes = Med2e3::unloaded(own.config(), Device::Cpu, tch::Kind::Float)?;
    let count: u128 = Part::ALL.into_iter().map(|part| u128::from(shapes.parameter_count(part))).sum();
    check_memory("start", 8 * count, &format!("a model of {count} weights, twice"))?;
    let given = source.model(Device::Cpu)?;
    let model = Med2e3::new(&varied(own.config(), &row.variant()), Device::Cpu, seed)?;
    for part in Part::ALL {
        let is_connector = matches!(part, Part::Vision2dConnector | Part::Vision3dConnector);
        if is_connector && taken == Taken::Towers {
            continue;
        }
        let weights: HashMap<String, Tensor> = given.parameters(part).into_iter().collect();
        for (name, tensor) in model.parameters(part) {
            match weights.get(&name).filter(|weight| weight.size() == tensor.size()) {
                Some(weight) => take(tensor, weight),
                None if is_connector => {}
                None => {
                    return Err(TrainerError::File {
                        path: source.folder().to_owned(),
                        expected: format!("the weight {name} of {part}, which the row {} builds", row.as_str()),
                        found: "none of its shape".into(),
                    });
                }
            }
        }
    }
    let adapters: HashMap<String, Tensor> = given.adapters().into_iter().collect();
    model.adapters().into_iter().for_each(|(name, tensor)| take(tensor, &adapters[&name]));
    let (tokenizers, inputs) = (source.tokenizers(), source.inputs()?);
    snapshot(&Contents { model: &model, tokenizers, inputs, training: None })?.write_new(out)
}

fn take(mut tensor: Tensor, values: &Tensor) {
    no_grad(|| tensor.copy_(values));
}
