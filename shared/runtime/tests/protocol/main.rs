//! The job protocol over a real nats-server, a real store and real worker processes: one file per
//! property.

mod harness;

mod clock;
mod crash;
mod credentials;
mod cut_answers;
mod dead;
mod drain;
mod faulty_proxy;
mod foreign;
mod full_store;
mod lease;
mod lies;
mod lost;
mod names;
mod nats_server;
mod once;
mod other_store;
mod outage;
mod permissions;
mod process;
mod random_faults;
mod removed;
mod retry;
mod size;
mod stalled;
mod stopping;
mod suspended;
mod undecodable;
mod versions;
