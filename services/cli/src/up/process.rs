//! Processes by id and start time, so that a reused id is never mistaken for one of ours.

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
    /// Whether it is still this process, and no zombie.
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }
    /// Sends a signal if it is alive; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            match signal::kill(Pid::from_raw(self.pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::warn!("signal {signal} to process {}: {error}", self.pid),
            }
        }
    }
    /// Waits until it is gone, at most `patience`; returns whether it is.
    pub fn wait_gone(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > end {
                return false;
            }
            // A process that is not our child offers nothing to wait on.
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// Ends processes that a supervisor left behind; returns how many there were.
pub fn reap(left: &[Process]) -> usize {
    let alive: Vec<&Process> = left.iter().filter(|process| process.is_alive()).collect();
    for process in &alive {
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGCONT); // a stopped process would never see the first one
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
    fn a_process_is_its_id_and_its_start() {
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
        assert_eq!(reap(&[process.clone(), other]), 1);
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
