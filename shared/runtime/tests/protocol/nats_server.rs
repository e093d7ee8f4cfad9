//! A nats-server with a configuration of the test's own, beside the harness's.

use crate::harness::{free_address, nats_server};
use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Killed when it goes out of scope.
pub struct NatsServer {
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    child: Child,
}

impl NatsServer {
    /// Starts one; `config` is what its configuration says besides the address.
    pub fn start(folder: tempfile::TempDir, config: &str) -> Self {
        let address = free_address();
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, with_address(address, config)).unwrap();
        let log = std::fs::File::create(folder.path().join("nats.log")).unwrap();
        let mut command = Command::new(nats_server());
        command.arg("-c").arg(&file).stderr(log);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Self {
            folder,
            address,
            child,
        }
    }

    /// The same with another configuration, which closes the connections that it does not allow.
    pub fn reload(&self, config: &str) {
        std::fs::write(
            self.folder.path().join("nats.conf"),
            with_address(self.address, config),
        )
        .unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    /// Writes a file into its folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn with_address(address: SocketAddr, config: &str) -> String {
    format!("listen: \"{address}\"\n{config}\n")
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
