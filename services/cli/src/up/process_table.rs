//! The supervisor's table of its children, written to the home after every change.

use crate::home::{Child, Home, Phase, Process, State};
use anyhow::{Context, Result};
use cedm_terminal::errln;
use std::cell::RefCell;

/// The state of a running system. It lives on the supervisor's only thread.
pub struct ProcessTable {
    home: Home,
    state: RefCell<State>,
}

impl ProcessTable {
    /// A table for this process, with no children yet.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn new(home: Home) -> Result<Self> {
        let supervisor = Process::of(std::process::id())
            .context("read the start time of this process from /proc")?;
        let state = State {
            supervisor,
            phase: Phase::Starting,
            children: Vec::new(),
        };
        home.save_state(&state)?;
        Ok(Self {
            home,
            state: RefCell::new(state),
        })
    }
    /// Adds or replaces a child.
    pub fn update(&self, child: Child) {
        let mut state = self.state.borrow_mut();
        match state
            .children
            .iter_mut()
            .find(|known| known.name == child.name)
        {
            Some(known) => *known = child,
            None => state.children.push(child),
        }
        self.save(&state);
    }
    /// Records the system's phase; a second `cedm up` waits for [`Phase::Ready`] to attach.
    pub fn set_phase(&self, phase: Phase) {
        let mut state = self.state.borrow_mut();
        state.phase = phase;
        self.save(&state);
    }
    /// Whether the child is running.
    pub fn is_running(&self, name: &str) -> bool {
        self.state.borrow().children.iter().any(|child| {
            child.name == name && child.process.as_ref().is_some_and(Process::is_alive)
        })
    }
    /// How often the child was restarted.
    pub fn restarts(&self, name: &str) -> u32 {
        self.state
            .borrow()
            .children
            .iter()
            .find(|child| child.name == name)
            .map_or(0, |child| child.restarts)
    }
    /// Prints a line on the supervisor's stderr.
    pub fn log(&self, line: &str) {
        errln!("cedm up: {line}");
    }

    fn save(&self, state: &State) {
        if let Err(error) = self.home.save_state(state) {
            tracing::warn!("{error:#}"); // supervision continues: only other commands read the file
        }
    }
}
