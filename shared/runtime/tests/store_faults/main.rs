//! What goes wrong with a store, and what must not follow from it: one file per fault. The store is
//! the embedded one, in a process of its own where its limits are set from outside.

mod answers;
mod descriptors;
mod full;
mod multipart;
mod raw;
mod rights;
mod tls;
mod unsupported;

use cedm_runtime::store::{S3Settings, S3Store};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// The key pair of `examples/store_server.rs`.
const KEYS: (&str, &str) = ("access", "blue-door-7");

async fn open(endpoint: &str) -> S3Store {
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        bucket: "cedm".to_owned(),
        ..S3Settings::default()
    };
    let keys = (KEYS.0.to_owned(), KEYS.1.to_owned());
    S3Store::open_with(&settings, Some(keys)).await.unwrap()
}

/// A server process, killed when it goes out of scope.
struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start(root: &Path) -> Self {
        Self::spawn(&mut Command::new(program()), root)
    }

    /// A server that may have so many files open.
    fn with_descriptors(root: &Path, limit: u32) -> Self {
        let script = format!(r#"ulimit -n {limit} && exec "$0" "$@""#);
        Self::spawn(
            Command::new("sh").arg("-c").arg(script).arg(program()),
            root,
        )
    }

    fn spawn(command: &mut Command, root: &Path) -> Self {
        let mut child = command.arg(root).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let endpoint = line.trim().to_owned();
        Self { child, endpoint }
    }

    fn address(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> std::path::PathBuf {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.parent().unwrap().parent().unwrap();
    folder.join("examples/store_server")
}
