//! Sweeps in the store: read and planned, submitted, cancelled, reopened, held and removed. In
//! which phase a sweep is follows from [`cedm_sweep::lifecycle`] for every command.

mod causes;
mod hold;
pub mod left;
mod reader;
mod view;
mod write;

pub use causes::Cause;
pub use reader::Reader;
pub use view::{Entry, Unreadable, View};
pub use write::Submitted;
