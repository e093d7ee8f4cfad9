//! Whose fault an error of a library is, and so what happens to the job that meets it.

use cedm_clustering::ClusteringError;
use cedm_evaluator::EvaluatorError;
use cedm_fault::{Fault, FileError, HasFault};
use cedm_images::ImageError;
use cedm_maths::MathsError;
use cedm_nets::NetError;
use cedm_tensor_files::TensorFileError;
use std::io;

fn check(error: &dyn HasFault, expected: Fault) {
    assert_eq!(error.fault(), expected, "{error}");
}

fn disk() -> io::Error {
    io::Error::other("disk full")
}

fn wrong_rows() -> MathsError {
    MathsError::NotFinite {
        what: "reference".to_owned(),
        found: 1,
        row: 0,
    }
}

fn libtorch() -> tch::TchError {
    tch::TchError::Kind("float".to_owned())
}

#[test]
fn wrong_data_are_the_jobs_own_fault() {
    check(&wrong_rows(), Fault::Input);
    check(&ClusteringError::from(wrong_rows()), Fault::Input);
    check(&EvaluatorError::from(wrong_rows()), Fault::Input);
    let format = FileError::format("shard", "no shard");
    check(
        &EvaluatorError::from(ImageError::from(format)),
        Fault::Input,
    );
    let lacking = EvaluatorError::Lacking {
        what: "reference".to_owned(),
        found: "moments",
        needed: "features",
    };
    check(&lacking, Fault::Input);
}

#[test]
fn a_failing_disk_may_work_later() {
    check(&disk(), Fault::Unavailable);
    let file = || FileError::io("read", "shard")(disk());
    check(
        &EvaluatorError::from(ImageError::from(file())),
        Fault::Unavailable,
    );
    check(
        &EvaluatorError::from(NetError::from(file())),
        Fault::Unavailable,
    );
    let statistics = MathsError::Io {
        action: "open",
        file: "statistics.npz".into(),
        source: disk(),
    };
    check(&EvaluatorError::from(statistics), Fault::Unavailable);
    let shard = || TensorFileError::Io {
        action: "read",
        file: "shard".into(),
        source: disk(),
    };
    check(&EvaluatorError::from(shard()), Fault::Unavailable);
    check(&ClusteringError::Checkpoint(shard()), Fault::Unavailable);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_a_bug() {
    let lacking = || TensorFileError::Missing {
        file: "checkpoint".into(),
        name: "step".to_owned(),
        found: Vec::new(),
    };
    check(&ClusteringError::from(lacking()), Fault::Input);
    check(&ClusteringError::Checkpoint(lacking()), Fault::Bug);
    let other = ClusteringError::File {
        file: "checkpoint".into(),
        reason: "it is the state of another training".to_owned(),
    };
    check(&other, Fault::Bug);
}

#[test]
fn tensors_that_make_no_file_are_a_bug() {
    let layout = TensorFileError::Layout {
        file: "shard".into(),
        reason: "two tensors have one name".to_owned(),
    };
    check(&EvaluatorError::from(layout), Fault::Bug);
}

#[test]
fn what_libtorch_refuses_is_a_bug() {
    check(&NetError::from(libtorch()), Fault::Bug);
    let maths = MathsError::Torch {
        what: "eigenvalues".to_owned(),
        source: libtorch(),
    };
    check(&EvaluatorError::from(maths), Fault::Bug);
    let clustering = ClusteringError::Torch {
        doing: "a step",
        source: libtorch(),
    };
    check(&clustering, Fault::Bug);
}
