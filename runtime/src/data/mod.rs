//! Data: from files on disk to batches of numbers for the model. Clouds of points are [`clouds`]; the rest is of images.
//!
//! 1. [`ImageSet`] lists a folder or an uncompressed tar of images and reads their bytes; [`TarCache`] keeps where they lie.
//! 2. [`order`] says in which order an epoch visits them.
//! 3. [`decode()`] turns the bytes into [`Pixels`], of a JPEG no further down than a crop needs.
//! 4. [`transforms`] crop, resize and flip; [`Normalize`] makes them `f32` planes.
//! 5. [`Loader`] does 3 and 4 on threads of its own, ahead of the model, and yields [`Batch`]es.
//!
//! [`synth`] draws a small learnable set in the same layout, and [`corruptions`] makes ImageNet-C of a set.
//!
//! Everything random comes from [`draws::stream`], so that a run's data depends on its seed and on nothing else.

pub mod clouds;
pub mod corruptions;
pub mod damage;
pub mod decode;
pub mod draws;
pub mod image_folder;
pub mod loader;
mod nearness;
pub mod normalize;
pub mod order;
pub mod pixels;
pub mod synth;
pub mod tar_cache;
mod tar_index;
pub mod transforms;

pub use clouds::CloudSet;
pub use damage::Damage;
pub use decode::decode;
pub use image_folder::ImageSet;
pub use loader::{Batch, Damaged, Loader, LoaderOptions, Pipeline};
pub use normalize::Normalize;
pub use pixels::Pixels;
pub use synth::{SynthImages, synth_images};
pub use tar_cache::TarCache;
