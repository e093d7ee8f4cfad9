//! What the supervisor knows of its children, kept in the home after every change.

use crate::home::{Child, Home, Phase, Process, State};
use anyhow::{Context, Result};
use std::cell::RefCell;

/// The state of a running system. Lives on the supervisor's one thread.
pub struct ProcessTable {
    home: Home,
    state: RefCell<State>,
}

impl ProcessTable {
    /// A board for this process with no children yet.
    ///
    /// # Errors
    /// When the state cannot be kept.
    pub fn new(home: Home) -> Result<Self> {
        let supervisor = Process::of(std::process::id())
            .context("read the start time of this process from /proc")?;
        let state = State {
            supervisor,
            phase: Phase::Starting,
            children: Vec::new(),
        };
        home.keep_state(&state)?;
        Ok(Self {
            home,
            state: RefCell::new(state),
        })
    }
    /// Enters or replaces a child.
    pub fn show(&self, child: Child) {
        let mut state = self.state.borrow_mut();
        match state
            .children
            .iter_mut()
            .find(|known| known.name == child.name)
        {
            Some(known) => *known = child,
            None => state.children.push(child),
        }
        self.keep(&state);
    }
    /// Says how far the system is: whoever waits to attach goes on when it is ready.
    pub fn enter(&self, phase: Phase) {
        let mut state = self.state.borrow_mut();
        state.phase = phase;
        self.keep(&state);
    }
    /// Whether the child runs now.
    pub fn runs(&self, name: &str) -> bool {
        self.state.borrow().children.iter().any(|child| {
            child.name == name && child.process.as_ref().is_some_and(Process::is_alive)
        })
    }
    /// How often the child was started again.
    pub fn restarts(&self, name: &str) -> u32 {
        self.state
            .borrow()
            .children
            .iter()
            .find(|child| child.name == name)
            .map_or(0, |child| child.restarts)
    }
    /// A line for whoever watches the supervisor.
    pub fn say(&self, line: &str) {
        eprintln!("cedm up: {line}");
    }

    fn keep(&self, state: &State) {
        if let Err(error) = self.home.keep_state(state) {
            tracing::warn!("{error:#}"); // supervision goes on; only `status` and `down` read the file
        }
    }
}
