//! A job as it arrives: decoded, and held against the subject below which it lies. A subject is
//! what permissions are about; a message whose contents belong elsewhere was put there by somebody
//! who may not reach that other place, or by mistake.

use crate::Envelope;
use cedm_contract::{ContractError, Job, SCHEMA_VERSION, parse_job_subject};

/// The job of a message.
///
/// # Errors
/// [`ContractError::NewerSchema`] and [`ContractError::OtherVersion`] for a job that another build
/// can perform; [`ContractError::OtherSubject`] for one that belongs elsewhere; any other error for
/// what is no job.
pub(crate) fn read(
    subject: &str,
    payload: &[u8],
    envelope: &Envelope,
) -> Result<Job, ContractError> {
    let job = match Job::decode(payload) {
        Ok(job) => job,
        Err(error) if is_for_other_build(&error) => return Err(error),
        Err(error) => return Err(of_other_build(subject, envelope).unwrap_or(error)),
    };
    let (kind, _, key) = parse_job_subject(subject)?;
    if (job.kind(), &job.key) != (kind, &key) {
        return Err(ContractError::OtherSubject {
            subject: subject.chars().take(120).collect(),
            found: format!("the {} job {}", job.kind(), job.key),
        });
    }
    Ok(job)
}

/// Parameters that this build does not know make a job undecodable here: what its headers say of
/// the build that it is for decides then.
fn of_other_build(subject: &str, envelope: &Envelope) -> Option<ContractError> {
    if envelope.schema > SCHEMA_VERSION {
        return Some(ContractError::NewerSchema {
            what: "job",
            found: envelope.schema,
            supported: SCHEMA_VERSION,
        });
    }
    let (kind, _, _) = parse_job_subject(subject).ok()?;
    let (found, supported) = (envelope.algorithm?, kind.algorithm_version());
    (found != supported).then_some(ContractError::OtherVersion {
        kind,
        found,
        supported,
    })
}

/// Whether another build can perform what this one cannot read.
pub(crate) fn is_for_other_build(error: &ContractError) -> bool {
    matches!(
        error,
        ContractError::NewerSchema { .. } | ContractError::OtherVersion { .. }
    )
}
