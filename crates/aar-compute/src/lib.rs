//! Run many methods: what each sees and may use, and how many run at one time.

mod run;
mod slots;
mod unpacked;
mod workspace;

pub use run::{ComputeError, Fault, MethodRun, RunOutput, Runner, View};
pub use slots::{Slot, Slots};
pub use unpacked::Unpacked;
pub use workspace::{Harness, Room, Workspace, WorkspaceError};
