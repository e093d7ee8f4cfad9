//! Free ports on loopback.

use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
};

/// Finds free ports, each one once.
#[derive(Default)]
pub struct Ports {
    taken: BTreeSet<u16>,
}

impl Ports {
    /// `preferred` when it is free, else any free one. The port is not held: its owner binds it a
    /// moment later, and a child that finds it taken is started again.
    ///
    /// # Errors
    /// When no port is free.
    pub fn free(&mut self, preferred: Option<u16>) -> Result<u16> {
        let fits = |port: u16| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .and_then(|l| l.local_addr())
                .map(|a| a.port())
        };
        if let Some(port) = preferred.filter(|port| *port != 0 && !self.taken.contains(port))
            && fits(port).is_ok()
        {
            self.taken.insert(port);
            return Ok(port);
        }
        loop {
            let port = fits(0).context("find a free port on 127.0.0.1")?;
            if self.taken.insert(port) {
                return Ok(port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_busy_ones_are_skipped() {
        let mut ports = Ports::default();
        let first = ports.free(None).unwrap();
        assert_ne!(ports.free(Some(first)).unwrap(), first);
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        assert_ne!(ports.free(Some(port)).unwrap(), port);
    }
}
