//! What tch 0.24 lacks, through C++ functions over libtorch: a pair of a `.rs` and a `.cpp` file per concern. The only
//! `unsafe` code of this crate.
//!
//! # Layout
//! - `call`: how a C++ function is called: tensors as pointers, exceptions as errors
//! - `adamw`: one AdamW step over all tensors
//! - `gradients`: their norm, and whether there will be any; `gradient_buffer`: those in a buffer of the optimizer's
//! - `node`: an autograd node whose backward is a Rust closure; backward passes that return their errors
//! - `linear`: an affine map with a residual, by oneDNN; sums of its weights' gradients in f32
//! - `attention`: fused attention whose graph is made apart from its value
//! - `memory`: how much memory tensors hold
//! - `capacity`: how much memory a device has
//! - `trace`: what libtorch runs, recorded
//! - `random`: draws from a generator of their own
//! - `allocator`: one setting of the C allocator
//! - `cuda`: libtorch's CUDA half; `context`: how it computes
//! - `stream`: copies that nobody waits for; `host_reads`: how often the host waits
//! - `host_bytes`: the bytes of a tensor, where they lie
#![allow(unsafe_code)]

mod adamw;
mod allocator;
mod attention;
mod call;
mod capacity;
mod context;
mod cuda;
mod gradient_buffer;
mod gradients;
mod host_bytes;
mod host_reads;
mod linear;
mod memory;
mod node;
mod random;
mod stream;
mod trace;

pub use adamw::{AdamWLists, AdamWNumbers, AdamWScalars, fused_adamw};
pub use allocator::keep_freed_memory;
pub use attention::{AttentionInputs, KeptAttention};
pub use call::LibtorchError;
pub use capacity::{DeviceCapacity, device_capacity};
pub use context::{Context, FirstAttention, set_context};
pub use cuda::{CudaDevices, CudaVersion, cuda_devices, device_name, driver_version, open_cuda};
pub use gradient_buffer::{gradient_writes, put_gradient};
#[cfg(test)]
pub(crate) use gradients::taken_gradient;
pub use gradients::{autograd_enabled, global_norm};
pub use host_bytes::HostBytes;
pub use host_reads::HostReads;
pub use linear::{
    LinearGradients, add_product, bias_gradient, known_gradient, linear, linear_of, product, weight_gradient,
};
pub use memory::{CountedMemory, DeviceMemory, MemoryCounter, device_memory, reset_device_peak};
pub use node::{Behind, attach, backward, backward_from};
pub use random::{dropout_mask, fill_normal};
pub use stream::{CopyStream, Download, Event, HostBlock, Plain, upload};
pub use trace::Trace;
