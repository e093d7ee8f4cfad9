//! Sweeps in the store: read and planned, submitted, cancelled.

mod reader;
mod view;
mod write;

pub use reader::Reader;
pub use view::View;
pub use write::Submitted;
