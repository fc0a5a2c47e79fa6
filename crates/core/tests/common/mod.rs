//! What the tests of the ops share: fixtures, ops from their JSON, operands on the engine and comparisons.
#![allow(dead_code)] // each test binary uses a part
pub mod array;
pub mod build;
pub mod fixture;
pub mod host;
pub mod operand;
pub mod tolerance;
