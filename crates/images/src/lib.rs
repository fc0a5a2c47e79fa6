//! wick-images: from an image's file to the numbers of a batch. Decoding, the steps of a transform with Pillow's values, and the
//! threads that make batches. No napi.
mod affine;
mod blend;
mod canvas;
mod color;
mod crop;
mod decode;
mod erasing;
mod flip;
mod levels;
mod loader;
mod rand_augment;
mod resize;
mod step;
mod transform;

pub use canvas::Canvas;
pub use loader::{Done, Failure, Item, Loader, Made};
pub use step::Step;
pub use transform::Transform;
