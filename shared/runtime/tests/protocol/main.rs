//! The job protocol over a real nats-server, a real store and real worker processes: one file per
//! promise.

mod house;

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
mod retry;
mod weather;
mod wire;
mod zombie;
