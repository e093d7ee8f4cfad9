//! What becomes of a job when training fails.

use cedm_diffusion::DiffusionError;
use cedm_runtime::JobError;
use cedm_tensor_files::TensorFileError;

/// Settings, labels, shapes and losses that are not finite are the job's own fault: it would fail
/// again in the same way. Files and memory are the world's.
pub fn job_error(error: DiffusionError) -> JobError {
    match error {
        DiffusionError::TensorFile(TensorFileError::Io { .. } | TensorFileError::Format { .. })
        | DiffusionError::File { .. }
        | DiffusionError::OutOfMemory { .. } => JobError::retry(error),
        DiffusionError::Torch(_) => JobError::bug(error),
        _ => JobError::reject(error),
    }
}
