//! What one client may use: concurrent [`Places`] and rates ([`Meter`]), counted per key, which is
//! mostly a [`Source`]; and who did something [`Lately`]. Counts are those of this process, in tables of bounded size.
//!
//! The crate has no runtime and, but for [`seldom`], no clock: the time of now is a parameter.

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
