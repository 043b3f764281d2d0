//! Names in a checkpoint's folder that both its writer and its readers need.

/// The model's own configuration.
pub(crate) const CONFIG: &str = "med2e3.toml";
/// Adapters of the language model, in PEFT's layout.
pub(crate) const ADAPTERS: &str = "adapters";
/// The published sizes of a part, in the part's own folder.
pub(crate) const SIZES: &str = "config.json";
