//! I/O errors as answers of S3. Only a file that is not there is a missing object: an error that
//! says nothing about the object (no descriptor left, no space, no permission, a broken disk) is a
//! failure of the store, which clients try again or report, and which is never taken for a result
//! that has gone.

use nix::errno::Errno;
use s3s::{S3Error, S3ErrorCode};
use std::io;

/// The error code of a full disk, with HTTP status 507.
pub const STORE_FULL: &str = "InsufficientStorage";

/// The answer to a failure that is no statement about an object. It names the error as the
/// operating system does.
pub(crate) fn failed(error: io::Error) -> S3Error {
    let name = error.raw_os_error().map(Errno::from_raw);
    let text = match name {
        Some(name) => format!("{name:?}: {error}"),
        None => error.to_string(),
    };
    tracing::warn!(error = %text, "a request failed");
    match name {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN) => {
            S3Error::with_message(
                S3ErrorCode::SlowDown,
                format!("the store has no descriptors or memory left ({text})"),
            )
        }
        Some(Errno::ENOSPC | Errno::EDQUOT) => full(&text),
        _ => S3Error::with_message(S3ErrorCode::InternalError, text),
    }
}

/// The answer when an object cannot be written for want of space.
pub(crate) fn full(text: &str) -> S3Error {
    let code = S3ErrorCode::Custom(STORE_FULL.into());
    let mut answer = S3Error::with_message(code, format!("the store's disk is full ({text})"));
    answer.set_status_code(507.try_into().expect("invariant: 507 is an HTTP status"));
    answer
}

/// `missing` when the file does not exist, else [`failed`].
pub(crate) fn missing_or_failed(error: io::Error, missing: S3ErrorCode) -> S3Error {
    if is_missing(&error) {
        missing.into()
    } else {
        failed(error)
    }
}

/// Whether the error says that no file of this name exists.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_and_status(error: Errno) -> (String, u16) {
        let error = io::Error::from_raw_os_error(error as i32);
        let answer = missing_or_failed(error, S3ErrorCode::NoSuchKey);
        let code = answer.code().as_str().to_owned();
        let status = answer.to_http_response().unwrap().status();
        (code, status.as_u16())
    }

    #[test]
    fn only_a_file_that_is_not_there_is_missing() {
        for (error, code, status) in [
            (Errno::ENOENT, "NoSuchKey", 404),
            (Errno::ENOTDIR, "NoSuchKey", 404),
            (Errno::EMFILE, "SlowDown", 503),
            (Errno::ENFILE, "SlowDown", 503),
            (Errno::ENOMEM, "SlowDown", 503),
            (Errno::ENOSPC, STORE_FULL, 507),
            (Errno::EDQUOT, STORE_FULL, 507),
            (Errno::EACCES, "InternalError", 500),
            (Errno::EIO, "InternalError", 500),
            (Errno::EROFS, "InternalError", 500),
            (Errno::EISDIR, "InternalError", 500),
        ] {
            assert_eq!(code_and_status(error), (code.to_owned(), status), "{error}");
        }
    }

    #[test]
    fn the_answer_names_the_error() {
        let answer = failed(io::Error::from_raw_os_error(Errno::EIO as i32));
        let message = answer.message().unwrap();
        assert!(message.starts_with("EIO: "), "{message}");
    }
}
