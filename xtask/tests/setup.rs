//! `cargo xtask setup` against a package index that breaks: every setback is one sentence, and the
//! next run continues.

#[path = "setup/index.rs"]
mod index;

use index::{Clone, Index};

#[test]
fn a_fresh_clone_is_filled_and_a_second_one_downloads_nothing() {
    let index = Index::start();
    let first = Clone::new(&index);
    first.setup().succeeds();
    assert_eq!(first.read(".deps/libtorch/lib/libbig.so"), index.big());
    assert_eq!(
        first.read(".deps/libtorch/lib/libtorch.so"),
        b"INPUT(libbig.so)\n"
    );
    assert!(first.is_executable(".deps/bin/tool"));
    assert!(
        !first.has(".deps/libtorch/unwanted.txt"),
        "only what the pins take is unpacked"
    );
    let served = index.bytes_served();
    assert!(
        served < 2 * index.big().len() as u64,
        "only the needed members travel, found {served} bytes"
    );

    let second = first.beside();
    second.setup().succeeds();
    assert_eq!(second.read(".deps/libtorch/lib/libbig.so"), index.big());
    assert_eq!(
        index.bytes_served(),
        served,
        "the cache serves the second clone"
    );
}

#[test]
fn a_complete_clone_needs_no_python_at_all() {
    let index = Index::start();
    let clone = Clone::new(&index);
    clone.setup().succeeds();
    clone.setup().with_path("").succeeds().says_nothing();
    clone.remove(".deps/bin/tool");
    clone
        .setup()
        .with_path("")
        .fails_with("needs Python 3.9 or newer");
    clone.setup().succeeds();
    assert!(clone.is_executable(".deps/bin/tool"));
}

#[test]
fn a_missing_pip_or_compiler_is_named() {
    let index = Index::start();
    let clone = Clone::new(&index);
    let (without_pip, without_compiler) = (clone.fake_python_without_pip(), "/nonexistent/c++");
    clone
        .setup()
        .with_env("PYTHON", &without_pip)
        .fails_with("has none; install it");
    clone
        .setup()
        .with_env("CXX", without_compiler)
        .fails_with("needs a C++ compiler");
    clone
        .setup()
        .with_env("HOME", "")
        .with_env("XDG_CACHE_HOME", "")
        .fails_with("no place for the cache");
    clone.setup().succeeds();
}

#[test]
fn a_broken_connection_is_resumed_within_the_run() {
    let index = Index::start();
    index.cut_next_answers(3);
    Clone::new(&index).setup().succeeds();
    let (served, whole) = (index.bytes_served(), index.big().len() as u64);
    assert!(
        served < 2 * whole,
        "what had arrived is kept: {served} bytes served for {whole}"
    );
}

#[test]
fn a_dead_network_is_one_sentence_and_the_next_run_goes_on() {
    let index = Index::start();
    let clone = Clone::new(&index);
    index.die();
    clone
        .setup()
        .fails_with("run setup again, it continues where it stopped");
    let before = index.bytes_served();
    index.revive();
    clone.setup().succeeds();
    assert!(
        index.bytes_served() - before < index.big().len() as u64,
        "the second run did not begin again"
    );
    assert_eq!(clone.read(".deps/libtorch/lib/libbig.so"), index.big());
}

#[test]
fn an_index_without_ranges_serves_whole_files() {
    let index = Index::start();
    index.ignore_ranges();
    let clone = Clone::new(&index);
    clone.setup().succeeds();
    assert_eq!(clone.read(".deps/libtorch/lib/libbig.so"), index.big());
}

#[test]
fn damage_in_the_cache_is_found_and_repaired() {
    let index = Index::start();
    let clone = Clone::new(&index);
    clone.setup().succeeds();
    for damage in [index::truncate as fn(&std::path::Path), index::flip_a_byte] {
        damage(&clone.cached("libbig.so"));
        let second = clone.beside();
        second.setup().succeeds();
        assert_eq!(second.read(".deps/libtorch/lib/libbig.so"), index.big());
    }
}

#[test]
fn a_file_with_another_digest_is_refused() {
    let index = Index::start();
    let clone = Clone::new(&index);
    index.tamper();
    clone.setup().fails_with("does not have the pinned SHA-256");
    assert!(!clone.has(".deps/libtorch/lib/libbig.so"));
}

#[test]
fn a_wheel_that_the_index_does_not_have_is_named() {
    let index = Index::start();
    let clone = Clone::new(&index);
    clone.edit_pins(
        "cedm_fake-1.0-py3-none-any.whl",
        "cedm_fake-1.0-py2-none-any.whl",
    );
    clone
        .setup()
        .fails_with("could not download cedm_fake-1.0-py2-none-any.whl with pip");
}
