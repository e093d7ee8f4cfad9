//! Whether a child lives, as its `/livez` says.
//!
//! A process that hangs does not exit, so that nobody would start another in its place. It is dead
//! when it has said so, or has not answered at all (suspended, deadlocked), for a whole limit: an
//! overloaded machine delays an answer, a process that ends by itself says for a moment that it is
//! not well, and both need no help.

use super::health;
use std::time::Duration;
use tokio::time::{self, Instant};

/// Looks within a limit.
const LOOKS: u32 = 6;
/// So many in a row must have been in vain, whatever the clock says: this process may have been
/// suspended itself.
const LEAST_FAILURES: u32 = 3;

/// Where a child says that it lives, and when it counts as dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Address of its health endpoints, `127.0.0.1:<port>`.
    pub address: String,
    /// Time from its start to its first good answer.
    pub start: Duration,
    /// Time without a good answer after that.
    pub silence: Duration,
}

/// Waits until the child is dead; the reason, for people. Never returns for one that has no such
/// endpoint.
pub async fn death(liveness: Option<&Liveness>) -> String {
    let Some(Liveness {
        address,
        start,
        silence,
    }) = liveness
    else {
        return std::future::pending().await;
    };
    let (mut last_good, mut limit, mut failures) = (Instant::now(), *start, 0);
    loop {
        time::sleep(*silence / LOOKS).await;
        let answer = time::timeout(*silence / 2, health::answer(address, "/livez"));
        let (status, said) = match answer.await.ok().flatten() {
            Some((200, _)) => {
                (last_good, limit, failures) = (Instant::now(), *silence, 0);
                continue;
            }
            Some((status, said)) => (Some(status), said),
            None => (None, String::new()),
        };
        failures += 1;
        let silent = last_good.elapsed();
        if silent >= limit && failures >= LEAST_FAILURES {
            let seconds = silent.as_secs();
            return match status {
                None => format!("http://{address}/livez has not answered for {seconds} s"),
                Some(status) => format!(
                    "http://{address}/livez has answered with HTTP status {status} for {seconds} s: {}",
                    said.trim()
                ),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const START: Duration = Duration::from_millis(1500);
    const SILENCE: Duration = Duration::from_millis(600);

    /// Answers as many requests with 200 as `good`, then with 503 and a reason, or not at all.
    async fn child(good: usize, is_silent: bool) -> Liveness {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let liveness = Liveness {
            address: listener.local_addr().unwrap().to_string(),
            start: START,
            silence: SILENCE,
        };
        tokio::spawn(async move {
            let mut kept = Vec::new();
            for request in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                if request >= good && is_silent {
                    kept.push(stream);
                    continue;
                }
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let text = match request < good {
                    true => "HTTP/1.1 200 OK\r\n\r\nok\n",
                    false => "HTTP/1.1 503 x\r\n\r\nthe main loop has not run for 130 s\n",
                };
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        liveness
    }

    #[tokio::test]
    async fn a_child_that_says_so_or_says_nothing_is_dead_after_the_limit() {
        for (good, is_silent, limit, expected) in [
            (2, false, SILENCE, "status 503 for"),
            (2, true, SILENCE, "has not answered for"),
            (0, false, START, "the main loop has not run"),
            (0, true, START, "has not answered for"),
        ] {
            let child = child(good, is_silent).await;
            let begun = Instant::now();
            let reason = death(Some(&child)).await;
            assert!(reason.contains(expected), "{reason}");
            assert!(begun.elapsed() >= limit, "{reason}");
        }
    }

    #[tokio::test]
    async fn a_child_that_lives_or_has_no_endpoint_is_never_dead() {
        let child = child(usize::MAX, false).await;
        for child in [Some(&child), None] {
            let lives = time::timeout(3 * SILENCE, death(child)).await;
            assert!(lives.is_err(), "{lives:?}");
        }
    }
}
