//! A package index on loopback that can misbehave, and clones that are set up from it.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
};

const WHEEL: &str = "cedm_fake-1.0-py3-none-any.whl";

const MAKE_WHEEL: &str = include_str!("make_wheel.py");

#[derive(Default)]
struct Faults {
    cut: AtomicU32,
    dead: AtomicBool,
    no_ranges: AtomicBool,
    tampered: AtomicBool,
    served: AtomicU64,
}

/// A package index on loopback.
pub struct Index {
    folder: tempfile::TempDir,
    port: u16,
    faults: Arc<Faults>,
}

impl Index {
    /// Makes the wheel and serves it until the test process ends.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("python3")
            .args(["-c", MAKE_WHEEL])
            .arg(folder.path())
            .arg(std::env::consts::ARCH)
            .status()
            .unwrap();
        assert!(made.success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, faults) = (
            listener.local_addr().unwrap().port(),
            Arc::new(Faults::default()),
        );
        let (wheel, shared) = (
            std::fs::read(folder.path().join(WHEEL)).unwrap(),
            faults.clone(),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (wheel, faults) = (wheel.clone(), shared.clone());
                // A client that goes away in the middle is part of the test.
                std::thread::spawn(move || answer(stream, &wheel, &faults).ok());
            }
        });
        Self {
            folder,
            port,
            faults,
        }
    }
    /// What the large library holds.
    pub fn big(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("big")).unwrap()
    }
    /// Bytes of the wheel that went out so far.
    pub fn bytes_served(&self) -> u64 {
        self.faults.served.load(SeqCst)
    }
    /// The next answers with more than a block of bytes end after half a block.
    pub fn cut_next_answers(&self, count: u32) {
        self.faults.cut.store(count, SeqCst);
    }
    /// The next answer with more than a block of bytes ends after half a block; all later ones
    /// bring nothing.
    pub fn die(&self) {
        self.faults.dead.store(true, SeqCst);
        self.cut_next_answers(1);
    }
    /// Answers requests again after a failure.
    pub fn revive(&self) {
        self.faults.dead.store(false, SeqCst);
    }
    /// Answers range requests with the whole file.
    pub fn ignore_ranges(&self) {
        self.faults.no_ranges.store(true, SeqCst);
    }
    /// Serves other bytes inside the large library.
    pub fn tamper(&self) {
        self.faults.tampered.store(true, SeqCst);
    }
}

fn answer(stream: TcpStream, wheel: &[u8], faults: &Faults) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let (mut request, mut range) = (String::new(), None);
    reader.read_line(&mut request)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        if let Some(bytes) = header
            .to_ascii_lowercase()
            .trim()
            .strip_prefix("range: bytes=")
        {
            let (start, end) = bytes.split_once('-').unwrap();
            range = Some((
                start.parse::<usize>().unwrap(),
                end.parse::<usize>().unwrap() + 1,
            ));
        }
    }
    if request.contains("/simple/") {
        let page = format!(
            "<!DOCTYPE html><html><body><a href=\"/files/{WHEEL}\">{WHEEL}</a></body></html>"
        );
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: \
             close\r\n\r\n{page}",
            page.len()
        );
    }
    let range = range.filter(|_| !faults.no_ranges.load(SeqCst));
    let (start, end) = range.unwrap_or((0, wheel.len()));
    let mut body = wheel[start..end].to_vec();
    if faults.tampered.load(SeqCst) && body.len() > 1 << 20 {
        body[1 << 19] ^= 1;
    }
    let head = match range {
        Some(_) => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
            end - 1,
            wheel.len()
        ),
        None => "200 OK".to_owned(),
    };
    write!(
        stream,
        "HTTP/1.1 {head}\r\nContent-Type: application/octet-stream\r\nContent-Length: \
         {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    let cut = body.len() > 1 << 20
        && faults
            .cut
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .is_ok();
    let dead = body.len() > 1 << 20 && faults.dead.load(SeqCst);
    let sent = &body[..if cut {
        1 << 19
    } else if dead {
        0
    } else {
        body.len()
    }];
    stream.write_all(sent)?;
    faults.served.fetch_add(sent.len() as u64, SeqCst);
    Ok(())
}

/// A clone of the project, as far as setup sees one.
pub struct Clone {
    home: Arc<tempfile::TempDir>,
    root: PathBuf,
    port: u16,
}

impl Clone {
    /// A clone of a user who has never set one up.
    pub fn new(index: &Index) -> Self {
        let clone = Self {
            home: Arc::new(tempfile::tempdir().unwrap()),
            root: PathBuf::new(),
            port: index.port,
        }
        .beside();
        std::fs::copy(
            index.folder.path().join("pins.json"),
            clone.root.join("xtask/setup/pins.json"),
        )
        .unwrap();
        std::fs::copy(
            index.folder.path().join("pins.json"),
            clone.home.path().join("pins.json"),
        )
        .unwrap();
        clone
    }
    /// Another clone of the same user.
    pub fn beside(&self) -> Self {
        let root = (0..)
            .map(|n| self.home.path().join(format!("clone-{n}")))
            .find(|path| !path.exists())
            .unwrap();
        std::fs::create_dir_all(root.join("xtask/setup")).unwrap();
        for script in ["__main__.py", "source.py"] {
            std::fs::copy(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("setup")
                    .join(script),
                root.join("xtask/setup").join(script),
            )
            .unwrap();
        }
        if self.home.path().join("pins.json").exists() {
            std::fs::copy(
                self.home.path().join("pins.json"),
                root.join("xtask/setup/pins.json"),
            )
            .unwrap();
        }
        Self {
            home: self.home.clone(),
            root,
            port: self.port,
        }
    }
    /// `cargo xtask setup`, ready to run.
    pub fn setup(&self) -> Setup {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("setup")
            .env("CARGO_MANIFEST_DIR", self.root.join("xtask"))
            .env("XDG_CACHE_HOME", self.home.path().join("cache"));
        for (name, _) in std::env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("PIP_")))
        {
            command.env_remove(name);
        }
        let url = format!("http://127.0.0.1:{}/simple", self.port);
        command
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_INDEX_URL", url)
            .env("PIP_NO_CACHE_DIR", "1")
            .env("PIP_RETRIES", "0");
        Setup(command)
    }
    /// Bytes of a file.
    pub fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root.join(path)).unwrap()
    }
    /// Whether a file is there.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
    /// Whether a file may be run.
    pub fn is_executable(&self, path: &str) -> bool {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(self.root.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o100
            != 0
    }
    /// Removes a file from the clone.
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.root.join(path)).unwrap();
    }
    /// Where the cache keeps a library.
    pub fn cached(&self, name: &str) -> PathBuf {
        let trees = std::fs::read_dir(self.home.path().join("cache/cedm")).unwrap();
        trees
            .map(|tree| tree.unwrap().path().join("torch/lib").join(name))
            .find(|path| path.exists())
            .unwrap()
    }
    /// Replaces text in the pins.
    pub fn edit_pins(&self, from: &str, to: &str) {
        let path = self.root.join("xtask/setup/pins.json");
        let text = std::fs::read_to_string(&path).unwrap().replace(from, to);
        serde_json::from_str::<Value>(&text).unwrap();
        std::fs::write(path, text).unwrap();
    }
    /// A Python that knows no pip.
    pub fn fake_python_without_pip(&self) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.home.path().join("python-without-pip");
        std::fs::write(
            &path,
            "#!/bin/sh\n[ \"$1\" = -m ] && exit 1\nexec python3 \"$@\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// One run of setup.
pub struct Setup(Command);

impl Setup {
    /// Sets an environment variable of the command.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }
    /// Searches programs elsewhere; the compiler stays known.
    pub fn with_path(self, path: &str) -> Self {
        self.with_env("CXX", "/usr/bin/c++").with_env("PATH", path)
    }
    /// Runs it and requires success.
    pub fn succeeds(mut self) -> Outcome {
        let outcome = Outcome::of(self.0.output().unwrap());
        assert!(outcome.success, "{}", outcome.said);
        outcome
    }
    /// Must end badly, with this in its words and no traceback.
    pub fn fails_with(mut self, expected: &str) {
        let outcome = Outcome::of(self.0.output().unwrap());
        assert!(!outcome.success, "it should have failed: {}", outcome.said);
        assert!(
            outcome.said.contains(expected),
            "expected {expected:?} in: {}",
            outcome.said
        );
        assert!(!outcome.said.contains("Traceback"), "{}", outcome.said);
    }
}

/// How a run ended.
pub struct Outcome {
    success: bool,
    said: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        Self {
            success: output.status.success(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
    /// Must have been silent.
    pub fn says_nothing(&self) {
        assert_eq!(self.said, "");
    }
}

/// Cuts a file in half.
pub fn truncate(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    replace(path, &bytes[..bytes.len() / 2]);
}
/// Changes a byte in the middle.
pub fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    replace(path, &bytes);
}
/// Replaces the file, not what is linked to it.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
