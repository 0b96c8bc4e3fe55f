//! Limits for one client: concurrent use ([`Places`]) and rates ([`Meter`]), counted per key, which
//! is mostly a [`Source`]; and who did something [`Lately`]. Each process counts for itself, in
//! tables of bounded size.
//!
//! The crate uses no runtime and, except for [`seldom`], no clock: the current time is a parameter.

mod lately;
mod meter;
mod places;
pub mod seldom;
mod source;

pub use crate::lately::Lately;
pub use crate::meter::Meter;
pub use crate::places::Place;
pub use crate::places::Places;
pub use crate::source::Source;
