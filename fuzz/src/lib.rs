//! What the fuzz targets have in common.

mod books;
mod exchange;
mod frames;
mod made;
mod walk;

pub use books::{Books, START_US, extra_columns};
pub use exchange::Exchange;
pub use frames::{Frames, push_frame};
pub use made::only_templates;
pub use walk::walk;
