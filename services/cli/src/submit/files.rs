//! The user's files that a sweep file names: looked at before a byte of them is uploaded.
//!
//! A sweep file may come from a stranger (a trigger, a form), and what it names is copied into the
//! store, where every worker reads it. So a file must look like what its reader accepts, and
//! `--files-below` limits from where it may come.

use anyhow::{Context, Result, bail, ensure};
use cedm_contract::MOST_WEIGHT_BYTES;
use cedm_runtime::{open_regular, store::ObjectUri};
use cedm_sweep::{Method, SweepSpec};
use cedm_tensor_files::{NPY_MAGIC, NpyHeader, TensorFile};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// What a file of a sweep is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Content {
    /// Weights of a feature extractor.
    Weights,
    /// Cluster ids, one per image.
    Ids,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Content::Weights => "weights",
            Content::Ids => "cluster ids",
        }
    }
    /// Largest file; ids of ten million images take 80 MB.
    fn most_bytes(self) -> u64 {
        match self {
            Content::Weights => MOST_WEIGHT_BYTES,
            Content::Ids => 1 << 30,
        }
    }
}

/// The files that a sweep names, each with what it is read as.
pub(super) fn of(spec: &SweepSpec) -> BTreeMap<String, BTreeSet<Content>> {
    let mut files: BTreeMap<String, BTreeSet<Content>> = BTreeMap::new();
    let extractors = std::iter::once(&spec.extractor)
        .chain(spec.evaluations.iter().map(|space| &space.extractor));
    let weights = extractors.filter_map(|extractor| extractor.weights.as_ref());
    let ids = spec.clusterings.iter().filter_map(|clustering| {
        let Method::Imported { ids } = &clustering.method else {
            return None;
        };
        Some(ids)
    });
    let named = weights
        .map(|file| (file, Content::Weights))
        .chain(ids.map(|file| (file, Content::Ids)));
    for (file, content) in named {
        files.entry(file.path.clone()).or_default().insert(content);
    }
    files
}

/// From where files may come.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    /// Empty when everything is allowed; folders are without links.
    places: Vec<Place>,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Prefix(ObjectUri),
}

impl Allowed {
    /// Files below these folders and `s3://` prefixes alone; any file when there is none.
    ///
    /// # Errors
    /// When a folder does not exist, or a URI is none.
    pub(super) fn below(places: &[String]) -> Result<Self> {
        let place = |text: &String| {
            if let Some(uri) = ObjectUri::parse(text)? {
                return Ok(Place::Prefix(uri));
            }
            let folder = Path::new(text).canonicalize();
            let folder = folder.with_context(|| format!("--files-below {text}"))?;
            ensure!(
                folder.is_dir(),
                "--files-below {text}: expected a folder or an s3:// prefix"
            );
            Ok(Place::Folder(folder))
        };
        Ok(Self {
            places: places.iter().map(place).collect::<Result<_>>()?,
        })
    }

    /// Fails for an object that is not below an allowed prefix.
    pub(super) fn check_uri(&self, uri: &ObjectUri) -> Result<()> {
        let is_below = |place: &Place| match place {
            Place::Folder(_) => false,
            Place::Prefix(prefix) => {
                uri.bucket == prefix.bucket
                    && (uri.key == prefix.key || uri.key.starts_with(&format!("{}/", prefix.key)))
            }
        };
        self.check(is_below)
    }

    /// Fails for an open file that is not below an allowed folder. The file itself is asked where
    /// it is, not its name, which may be a link or change meanwhile.
    fn check_file(&self, file: &File) -> Result<()> {
        if self.places.is_empty() {
            return Ok(());
        }
        let at = std::fs::read_link(by_handle(file)).context("find where the file is")?;
        self.check(|place| matches!(place, Place::Folder(folder) if at.starts_with(folder)))
    }

    fn check(&self, is_below: impl Fn(&Place) -> bool) -> Result<()> {
        if self.places.is_empty() || self.places.iter().any(is_below) {
            return Ok(());
        }
        let names: Vec<String> = self
            .places
            .iter()
            .map(|place| match place {
                Place::Folder(folder) => folder.display().to_string(),
                Place::Prefix(uri) => uri.to_string(),
            })
            .collect();
        bail!(
            "it lies outside what --files-below (CEDM_SUBMIT_FILES) allows: {}",
            names.join(", ")
        );
    }
}

/// The name of an open file: whoever opens it gets the same file, whatever its path names by then.
pub(super) fn by_handle(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Opens a file of a sweep. Its content is not trusted: workers check all of it when they read it.
/// What does not even begin like such a file is refused here, and its text is not quoted.
///
/// # Errors
/// When it is no regular file, is not below an allowed folder (`allowed` is `None` for one that was
/// fetched), is too large, or does not look like what it is read as.
pub(super) fn open(
    path: &Path,
    contents: &BTreeSet<Content>,
    allowed: Option<&Allowed>,
) -> Result<File> {
    let file = open_regular(path).with_context(|| format!("open {}", path.display()))?;
    if let Some(allowed) = allowed {
        allowed.check_file(&file)?;
    }
    let size = file.metadata().context("read its size")?.len();
    for content in contents {
        let (name, most) = (content.name(), content.most_bytes());
        ensure!(
            size <= most,
            "it has {size} bytes: expected {name} of at most {most}"
        );
        look_at(&file, *content, size).with_context(|| format!("{name} expected"))?;
    }
    // Looking has moved the position; whoever reads the file begins at its first byte.
    (&file).seek(SeekFrom::Start(0)).context("rewind it")?;
    Ok(file)
}

/// Checks the beginning of a file, and the table of contents of a format that has one.
fn look_at(mut file: &File, content: Content, size: u64) -> Result<()> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    match head.as_slice() {
        [b'P', b'K', 3, 4, ..] => {
            let archive = cedm_images::open_zip(file).context("a damaged zip archive")?;
            let mut names = archive.file_names();
            let is_torch = names.any(|name| {
                name.is_ok_and(|name| {
                    let name = name.to_string();
                    name.ends_with("/data.pkl") || name == "data.pkl"
                })
            });
            ensure!(
                is_torch,
                "a zip archive without `data.pkl` is not a PyTorch file"
            );
        }
        // A pickle of protocol 2 to 5: bare, or the first of an older PyTorch file.
        [0x80, 2..=5, ..] => {}
        [_, _, _, _, _, _, _, _, b'{', ..] => {
            TensorFile::open(&by_handle(file)).context("a damaged safetensors file")?;
        }
        _ if content == Content::Ids && head.starts_with(NPY_MAGIC) => {
            let header = NpyHeader::read(&mut file, size);
            let header =
                header.map_err(|reason| anyhow::anyhow!("a damaged npy file: {reason}"))?;
            ensure!(
                matches!(header.dtype.kind, 'i' | 'u') && header.shape.len() == 1,
                "an npy file of {} {:?}: expected one integer per image",
                header.dtype,
                header.shape
            );
        }
        _ => {
            let npy = match content {
                Content::Weights => "",
                Content::Ids => ", an npy file",
            };
            bail!(
                "it begins like none of these: a safetensors file, a PyTorch file (zip or the stream \
                 before it), a pickle{npy}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    fn weights(path: &Path) -> Result<File> {
        open(path, &[Content::Weights].into(), None)
    }

    /// Fails unless the file is accepted and read from its first byte to its last.
    fn accepted(result: Result<File>, path: &Path) {
        let mut found = Vec::new();
        result.unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, fs::read(path).unwrap(), "{}", path.display());
    }

    fn refusal(result: Result<File>) -> String {
        format!("{:#}", result.expect_err("it was accepted"))
    }

    /// The smallest safetensors file: one byte.
    fn safetensors() -> Vec<u8> {
        let header = br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.push(0);
        bytes
    }

    #[test]
    fn only_what_begins_like_weights_is_taken_as_weights() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let nets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/nets/src/weights");
        for fine in ["module.pt", "script.pt", "edm.pkl"] {
            accepted(weights(&nets.join(fine)), &nets.join(fine));
        }
        fs::write(at("good.safetensors"), safetensors()).unwrap();
        let good = at("good.safetensors");
        accepted(weights(&good), &good);

        fs::write(at("short.safetensors"), &safetensors()[..40]).unwrap();
        fs::write(at("text"), "secret=1\n".repeat(9)).unwrap();
        fs::write(at("looks.json"), "1234567\n{\"a\": 1}").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::write(at("broken.zip"), b"PK\x03\x04 and nothing more").unwrap();
        let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/digits-8x8.zip");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, says) in [
            (PathBuf::from("/etc/passwd"), "begins like none of these"),
            (at("text"), "begins like none of these"),
            (at("empty"), "begins like none of these"),
            (at("looks.json"), "damaged safetensors"),
            (at("short.safetensors"), "damaged safetensors"),
            (at("broken.zip"), "damaged zip"),
            (digits, "without `data.pkl`"),
            (at("pipe"), "it is a pipe"),
            (PathBuf::from("/dev/zero"), "it is a device"),
            (folder.path().to_owned(), "it is a folder"),
            (at("missing"), "No such file"),
        ] {
            let error = refusal(weights(&path));
            assert!(error.contains(says), "{}: {error}", path.display());
            assert!(!error.contains("secret") && !error.contains("root:"));
        }
    }

    #[test]
    fn ids_may_be_an_npy_file_of_integers_and_weights_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let npy = |dtype: &str, shape: &str, bytes: usize| {
            let text =
                format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n");
            let mut file = b"\x93NUMPY\x01\x00".to_vec();
            file.extend((text.len() as u16).to_le_bytes());
            file.extend(text.as_bytes());
            file.resize(file.len() + bytes, 0);
            let path = folder.path().join("ids.npy");
            fs::write(&path, file).unwrap();
            path
        };
        let ids = |path: &Path| open(path, &[Content::Ids].into(), None);
        let good = npy("<i8", "(2,)", 16);
        accepted(ids(&good), &good);
        for (dtype, shape, says) in [
            ("<f8", "(2,)", "expected one integer per image"),
            ("<i8", "(2, 1)", "expected one integer per image"),
            ("<i8", "(9,)", "damaged npy"),
        ] {
            let error = refusal(ids(&npy(dtype, shape, 16)));
            assert!(error.contains(says), "{error}");
        }
        let path = npy("<i8", "(2,)", 16);
        assert!(refusal(weights(&path)).contains("weights expected"));
        // 2 TiB that take no disk are refused before they are read.
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(2 << 40).unwrap();
        assert!(refusal(ids(&path)).contains("expected cluster ids of at most 1073741824"));
    }

    #[test]
    fn files_come_from_the_allowed_folders_alone_whatever_links_say() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let good = |folder: &Path| {
            let path = folder.join("w.safetensors");
            fs::write(&path, safetensors()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let (within, without) = (good(inside.path()), good(outside.path()));
        symlink(&without, inside.path().join("link")).unwrap();
        symlink(&within, outside.path().join("link")).unwrap();
        let places = [
            inside.path().display().to_string(),
            "s3://models/public".to_owned(),
        ];
        let allowed = Allowed::below(&places).unwrap();
        let try_open = |path: &Path| open(path, &[Content::Weights].into(), Some(&allowed));
        try_open(&within).unwrap();
        try_open(&outside.path().join("link")).unwrap();
        let dots = inside
            .path()
            .join("..")
            .join(outside.path().file_name().unwrap())
            .join("w.safetensors");
        for path in [without, inside.path().join("link"), dots] {
            assert!(refusal(try_open(&path)).contains("outside what --files-below"));
        }
        let uri = |text: &str| ObjectUri::parse(text).unwrap().unwrap();
        allowed.check_uri(&uri("s3://models/public/a")).unwrap();
        for text in [
            "s3://models/private/a",
            "s3://models/publicly",
            "s3://other/public/a",
        ] {
            assert!(allowed.check_uri(&uri(text)).is_err(), "{text}");
        }
        assert!(Allowed::below(&["/no/such/folder".to_owned()]).is_err());
        Allowed::default().check_uri(&uri("s3://other/a")).unwrap();
    }
}
