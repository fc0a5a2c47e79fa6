//! The cases of every family; a family's file has the name of its ops' file.
use crate::case::Case;
pub mod chain;
pub mod conv;
pub mod creation;
pub mod index;
pub mod linalg;
pub mod loss;
pub mod norm;
pub mod optim;
pub mod pointwise;
pub mod pool;
pub mod reduce;
pub mod softmax;
pub mod sort;

/// By family.
pub fn all() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("chain", chain::cases()),
        ("conv", conv::cases()),
        ("creation", creation::cases()),
        ("index", index::cases()),
        ("linalg", linalg::cases()),
        ("loss", loss::cases()),
        ("norm", norm::cases()),
        ("optim", optim::cases()),
        ("pointwise", pointwise::cases()),
        ("pool", pool::cases()),
        ("reduce", reduce::cases()),
        ("softmax", softmax::cases()),
        ("sort", sort::cases()),
    ]
}
