//! The job protocol over a real nats-server, a real store and real worker processes: one file per
//! promise.

mod harness;

mod crash;
mod dead;
mod drain;
mod foreign;
mod lease;
mod lost;
mod once;
mod outage;
mod permissions;
mod process;
mod random_faults;
mod retry;
mod wire;
mod zombie;
