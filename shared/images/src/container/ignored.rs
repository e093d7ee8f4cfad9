//! What is no part of any set: files that systems and programs leave behind.

/// Names of folders and files that hold nothing of a set, in lower case.
const IGNORED: [&str; 8] = [
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
];

/// Whether a member is to be passed over: a part of its name is hidden (`.DS_Store`, `._a.png`,
/// `.ipynb_checkpoints`) or one of [`IGNORED`]. One rule for all containers.
pub fn is_ignored(name: &str) -> bool {
    name.split('/').any(|part| {
        let hidden = part.starts_with('.') && part != ".";
        hidden || IGNORED.contains(&part.to_ascii_lowercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::is_ignored;

    #[test]
    fn what_systems_leave_behind_is_ignored_in_every_part_of_a_name() {
        for name in [
            ".DS_Store",
            "cat/._a.png",
            "__MACOSX/cat/a.png",
            ".ipynb_checkpoints/a.png",
            "cat/Thumbs.db",
            "@eaDir/a.png/SYNO.jpg",
            "a/desktop.ini",
        ] {
            assert!(is_ignored(name), "{name}");
        }
        for name in ["a.png", "cat/a.b.png", "./cat/a.png", "macosx/a.png"] {
            assert!(!is_ignored(name), "{name}");
        }
    }
}
