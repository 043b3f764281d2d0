//! Names in a checkpoint's folder that both its writer and its readers need.

/// The model's own configuration.
pub(crate) const CONFIG: &str = "med2e3.toml";
/// Adapters of the language model, in PEFT's layout.
pub(crate) const ADAPTERS: &str = "adapters";
/// The published sizes of a part, in the part's own folder.
pub(crate) const SIZES: &str = "config.json";
/// The ids that end an answer, next to a language model's config.json.
pub(crate) const GENERATION: &str = "generation_config.json";
