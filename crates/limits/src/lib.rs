//! Limits for one client: concurrent use ([`Places`]) and rates ([`Meter`]), counted for each key,
//! which is usually a [`Source`]; and recent events ([`Lately`]). Each process counts separately,
//! in tables of limited size.
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
