//! Utilisation history in, next C to probe or C_max out (spec §6.1).
//!
//! The search itself is [`search::next`], a pure function of the probes so far: the service holds
//! no state and never waits for a clustering. What it asks for is planned as ordinary clustering
//! jobs, and once they are there it is asked again.

#![forbid(unsafe_code)]

pub mod run;
pub mod search;
pub mod table;
pub mod worker;
