//! The search for C_max, the largest number of clusters that a clustering still uses: probes so far
//! in, the next C to probe or C_max out (spec §6.1).
//!
//! The search itself is [`search::next`], a pure function of the probes so far. The service holds
//! no state and never waits for a clustering: the coordinator plans the probes that it requests as
//! clustering jobs, and a new bound job once they are done.

#![forbid(unsafe_code)]

pub mod run;
pub mod search;
pub mod worker;
