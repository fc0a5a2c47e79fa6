//! Images from files: requests to the threads that make batches, and their results.
use crate::args::Size;
use crate::error::{of_panic, thrown};
use crate::with;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use wick_core::device::Device;
use wick_core::dtype::DType;
use wick_core::error::Error;
use wick_core::reserve;
use wick_core::shape::Shape;
use wick_images::{Canvas, Item, Loader, Made, Step, Transform};

/// A batch that no tensor has taken yet.
pub struct ImageBatch(Mutex<Option<Made>>);

/// What a request comes to: a batch, or why there is none.
#[napi(object, object_from_js = false)]
pub struct LoadedImages {
    pub batch: Option<External<ImageBatch>>,
    pub failure: Option<ImageFailure>,
}

#[napi(object, object_from_js = false)]
pub struct ImageFailure {
    /// The item's place in the batch.
    pub position: u32,
    pub code: String,
    pub message: String,
}

type Resolver = Box<dyn FnOnce(Env) -> Result<LoadedImages> + Send>;

fn caught<T>(f: impl FnOnce() -> wick_core::error::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(thrown),
        Err(panic) => Err(thrown(of_panic(&*panic))),
    }
}

/// A loader whose steps have the given names and numbers.
#[napi(catch_unwind)]
pub fn new_image_loader(names: Vec<String>, numbers: Vec<Vec<f64>>, threads: Size) -> Result<External<Loader>> {
    caught(|| {
        let steps = names.iter().zip(&numbers).map(|(name, n)| Step::parse(name, n)).collect::<wick_core::error::Result<Vec<_>>>()?;
        Ok(External::new(Loader::new(Transform::new(steps)?, threads.0)))
    })
}

/// Asks for the images of `paths`, whose random numbers begin at `offset` of the streams of `seeds`. The promise never rejects.
#[napi(catch_unwind, ts_return_type = "Promise<LoadedImages>")]
pub fn request_images<'a>(env: &'a Env, loader: &External<Loader>, paths: Vec<String>, seeds: &[f64], offset: f64) -> Result<Object<'a>> {
    let (deferred, promise) = env.create_deferred::<LoadedImages, Resolver>()?;
    let items: Vec<Item> = paths.into_iter().zip(seeds).map(|(path, seed)| Item { path, seed: *seed, offset }).collect();
    let done = move |made: std::result::Result<Made, wick_images::Failure>| {
        let resolver: Resolver = Box::new(move |_| {
            Ok(match made {
                Ok(made) => LoadedImages { batch: Some(External::new(ImageBatch(Mutex::new(Some(made))))), failure: None },
                Err(wick_images::Failure { position, error }) => {
                    let failure = ImageFailure { position: position as u32, code: error.code.name().into(), message: error.message };
                    LoadedImages { batch: None, failure: Some(failure) }
                }
            })
        });
        deferred.resolve(resolver);
    };
    caught(|| {
        loader.request(items, Box::new(done));
        Ok(())
    })?;
    Ok(promise)
}

/// Gives up what was asked for; its promises resolve with a failure.
#[napi(catch_unwind)]
pub fn cancel_images(loader: &External<Loader>) -> Result<()> {
    caught(|| {
        loader.cancel();
        Ok(())
    })
}

/// The images of a batch as a tensor [n, 3, height, width], uint8 or float32. A batch can be taken once.
#[napi(catch_unwind)]
pub fn take_images(batch: &External<ImageBatch>, device: u32) -> Result<f64> {
    let made = batch.0.lock().ok().and_then(|mut slot| slot.take());
    with(|e| {
        let made = made.ok_or_else(|| Error::internal("a batch of images was taken twice"))?;
        let dtype = if made.is_float { DType::F32 } else { DType::U8 };
        e.adopt(made.block, Shape::new(&[made.count, 3, made.height, made.width]), dtype, Device::from_code(device)?)
    })
}

/// Frees a batch that is not taken.
#[napi(catch_unwind)]
pub fn drop_images(batch: &External<ImageBatch>) -> Result<()> {
    caught(|| {
        drop(batch.0.lock().ok().and_then(|mut slot| slot.take()));
        Ok(())
    })
}

/// Planes of bytes.
#[napi(object, object_from_js = false)]
pub struct BytePlanes {
    pub data: Uint8Array,
    pub height: u32,
    pub width: u32,
}

/// Runs one step on images of bytes, [n, 3, height, width], with the same random numbers for all.
#[napi(catch_unwind)]
pub fn transform_images(data: &[u8], height: Size, width: Size, name: String, numbers: Vec<f64>, draws: &[f64]) -> Result<BytePlanes> {
    caught(|| {
        reserve::caught(|| {
            let step = Step::parse(&name, &numbers)?;
            let (mut height, mut width) = (height.0, width.0);
            let size = height.saturating_mul(width).saturating_mul(3);
            if size == 0 || !data.len().is_multiple_of(size) {
                return Err(Error::shape(format!("images of {height} x {width} have no pixels, or other ones")));
            }
            let mut all = vec![];
            for planes in data.chunks_exact(size) {
                let mut canvas = Canvas::from_planes(height, width, planes);
                step.apply(&mut canvas, draws)?;
                all.push(canvas);
            }
            if let Some(canvas) = all.first() {
                (height, width) = (canvas.height, canvas.width);
            }
            let mut out = reserve::repeated(0, all.len() * 3 * height * width);
            for (canvas, planes) in all.iter().zip(out.chunks_exact_mut(3 * height * width)) {
                canvas.write_planes(planes, |_, value| value);
            }
            Ok(BytePlanes { data: out.into(), height: height as u32, width: width as u32 })
        })
    })
}
