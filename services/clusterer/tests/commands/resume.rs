//! An interrupted TEMI training is resumed by repeating the command.

use super::{TEMI, text, write_data};
use serde_json::Value;
use std::{
    io::Read,
    process::{Command, Stdio},
};
use tch::Kind;

#[test]
fn an_interrupted_training_is_resumed_for_the_same_data_only() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), Kind::Float);
    let features = folder.path().join("features.safetensors");
    let settings = TEMI.replace("\"epochs\": 15", "\"epochs\": 800");
    let args = |out: &str| {
        let out = folder.path().join(out);
        [
            "run",
            "--clusters",
            "4",
            "--settings",
            &settings,
            "--features",
            text(&features),
            "--out",
            text(&out),
        ]
        .map(str::to_owned)
        .to_vec()
    };
    // The result, and whether the training was resumed from a checkpoint.
    let finish = |out: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_cedm-clusterer"))
            .args(args(out))
            .env("CEDM_DEVICE", "cpu")
            .env("CEDM_THREADS", "1")
            .output()
            .unwrap();
        let stderr_text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr_text}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let resumed = stderr_text.contains("resuming from the checkpoint at step");
        (
            (
                found["best_head"].clone(),
                found["first_and_last_losses"].clone(),
            ),
            resumed,
        )
    };
    let interrupt = |out: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cedm-clusterer"))
            .args(args(out))
            .env("CEDM_DEVICE", "cpu")
            .env("CEDM_THREADS", "1")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut stderr_text, mut byte) = (String::new(), [0]);
        // The signal handler is installed by the time of the second progress line.
        while stderr_text.matches(" steps,").count() < 2 {
            assert_eq!(
                child.stderr.as_mut().unwrap().read(&mut byte).unwrap(),
                1,
                "the process ended too soon: {stderr_text}"
            );
            stderr_text.push(byte[0].into());
        }
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(
            sent.success() && !child.wait().unwrap().success(),
            "an interrupted training has no result"
        );
        assert!(
            folder.path().join(out).join("checkpoints").exists(),
            "a checkpoint is kept"
        );
    };
    let (whole, _) = finish("whole");
    interrupt("cut");
    assert_eq!(
        finish("cut"),
        (whole, true),
        "the resumed training has the same result"
    );

    interrupt("other");
    let tensor = cedm_torch::tensor_files::read_one(&features, "features").unwrap();
    cedm_torch::tensor_files::write(
        &features,
        &[("features", tensor.flip([1i64].as_slice()))],
        &[],
    )
    .unwrap();
    assert_eq!(
        finish("other"),
        (finish("fresh").0, false),
        "with other data it starts again"
    );
}
