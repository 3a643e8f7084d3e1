//! The bodies of the fuzz targets, and the seeds of their corpora.
//!
//! A body reads its input as instructions: which place, which mode, which frames, what to damage. Any bytes are such
//! instructions, so a mutated input still gets somewhere. It then asserts what has to hold for every input, which is
//! more than that nothing panics. The checksums of the format are computed here a second time, from
//! `docs/FORMAT.md` alone: that gets inputs past them, and holds the codec against the document.

mod footer;
mod frame;
mod header;
mod image;
mod scan;
mod seeds;

pub use footer::footer;
pub use frame::frame;
pub use header::header;
pub use scan::scan;
pub use seeds::seeds;

/// A body: takes any input, and panics where a property does not hold.
pub type Body = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Body); 4] = [("frame", frame), ("scan", scan), ("header", header), ("footer", footer)];
