//! Processes by id and start time, so that another process with a reused id is never signalled.

use crate::home::Process;
use nix::{
    errno::Errno,
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

impl Process {
    /// The running process with this id.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self {
            pid,
            start_ticks: start_ticks(pid)?,
        })
    }
    /// Whether this very process still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }
    /// Sends a signal if it is alive; it is no error when the process is gone.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            match signal::kill(Pid::from_raw(self.pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::warn!("signal {signal} to process {}: {error}", self.pid),
            }
        }
    }
    /// Waits until it is gone, at most `timeout`; returns whether it is.
    pub fn wait_gone(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            // Only a parent can wait(2) for a process, so this polls.
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// Stops these processes, with SIGKILL after five seconds; returns how many were alive.
pub fn stop_all(processes: &[Process]) -> usize {
    let alive: Vec<&Process> = processes
        .iter()
        .filter(|process| process.is_alive())
        .collect();
    for process in &alive {
        process.signal(Signal::SIGTERM);
        // A process stopped by SIGSTOP handles SIGTERM only after it continues.
        process.signal(Signal::SIGCONT);
    }
    for process in &alive {
        if !process.wait_gone(Duration::from_secs(5)) {
            process.signal(Signal::SIGKILL);
            process.wait_gone(Duration::from_secs(5));
        }
    }
    alive.len()
}

/// Field 22 of /proc/<pid>/stat; `None` for processes that are gone or wait for their parent as
/// zombies.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 2..]; // the name may hold blanks and brackets
    let mut fields = after_name.split(' ');
    let state = fields.next()?; // field 3
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_identified_by_its_id_and_start_time() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.is_alive());
        let other = Process {
            start_ticks: process.start_ticks + 1,
            ..process.clone()
        };
        assert!(!other.is_alive());
        other.signal(Signal::SIGKILL); // must not hit the one that reuses its id
        assert!(process.is_alive());
        assert_eq!(stop_all(&[process.clone(), other]), 1);
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
