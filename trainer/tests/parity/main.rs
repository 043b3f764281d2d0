//! The model, its loss, its gradients, its generation and its optimizer against PyTorch, transformers and MONAI. The
//! expected numbers and the scripts that made them are in `../golden/`.

mod augmentation;
mod clip;
mod golden_file;
mod imported;
mod language_model;
mod lora;
mod optimizer;
mod recompute;
mod step;
mod variants;
mod whole;
mod windows;
