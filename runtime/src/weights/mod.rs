//! Pretrained weights: which file holds them, what is in it, and how its names and layouts become ours.
//!
//! The way from a name in a spec to numbers:
//!
//! 1. [`locate`]: `llama7b` → a folder or a file, by `lmv.toml`, the environment or a flag; else out of Hugging Face's
//!    cache, which [`hub`] knows.
//! 2. [`checkpoint`]: that path → names, dtypes and shapes, read from headers alone. The layouts it knows are
//!    [Hugging Face's folder, Meta's folder and single files](Checkpoint::open); the two containers are
//!    `safetensors` and `torch`, the second with `pickle` for its table of contents.
//! 3. [`llm`] for a block of a language model, [`names`] for everything else: our parameter names → the checkpoint's.
//!    [`taken`] holds what is found against what the checkpoint has around it.
//! 4. [`Checkpoint::read_f32`] and [`Checkpoint::read_numbers`]: the bytes of the tensors that are wanted, and of no
//!    others.
//!
//! A tensor's way from its file into memory is in `lying`: in pieces, by several threads, without a second copy; what can
//! stay in its file is [`mapped`].
//!
//! Files come from anywhere, so nothing in them is believed: no code of a pickle runs, no size is allocated before it
//! is held against the file's length, and what is wrong is said in a [`Failure`](crate::error::Failure) that names the
//! file.

pub mod built_in;
pub mod checkpoint;
pub mod dtype;
mod file;
pub mod grid;
pub mod hub;
mod layout;
pub mod llm;
pub mod locate;
mod lying;
pub mod mapped;
pub mod names;
pub mod numbers;
mod pickle;
mod safetensors;
pub mod taken;
mod torch;

#[cfg(test)]
mod made;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod saved;

pub use checkpoint::Checkpoint;
pub use dtype::{Dtype, TensorBytes, TensorInfo};
pub use grid::Grid;
pub use hub::{HubCache, Repository};
pub use llm::{
    Block, LlmSizes, Read, TURNED, block_tensor, check_config, check_counts, check_declared, is_of_blocks,
    read_block_tensor, read_found, settings_left_open,
};
pub use locate::{LocationKind, Locations};
pub use mapped::MappedFile;
pub use names::{Filling, NameMap, Wanted, fill_report, fill_report_with};
pub use numbers::Numbers;
pub use pickle::{Array, lists_of_arrays};
pub use taken::{blocks_left, check_taken};
