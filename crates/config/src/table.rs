//! The table of all options: a row says everything that the program and its documents know of one.

mod audit;
mod calls;
mod cluster;
mod consoles;
mod lines;

use crate::keystone;
use crate::option::Kind;
use crate::option::Kind::Single;
use crate::option::Opt;

const HOST: Kind = Single("an IP address or a host name");
const ABOUT_SECONDS: Kind = Single("seconds, 0 to 315360000");
const ABOUT_SECONDS_FROM_1: Kind = Single("seconds, 1 to 315360000");
const PEM: Kind = Single("a PEM file that exists");
const LISTEN: Kind = Single("HOST:PORT; an IPv6 address in brackets; port 0 means any free port");

/// The rows, ordered by group. Where two fill one value, the later row wins.
pub(crate) static OPTIONS: &[&[&[Opt]]] = &[OWN, keystone::OPTIONS];

const OWN: &[&[Opt]] =
    &[consoles::OPTIONS, calls::OPTIONS, lines::OPTIONS, cluster::OPTIONS, audit::OPTIONS];
