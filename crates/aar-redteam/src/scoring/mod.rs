//! What scores give away: attacks on the labels of dev, played against a scoring rule as a black
//! box, and what the stolen labels are worth on sealed rows.
//!
//! No sandbox and no hub: an attacker here may send any vector, which a live study refuses. So the
//! figures are those of the scoring rule alone, as if all other walls had fallen.

mod attack;
mod game;
mod measure;
mod table;
mod theft;
mod weighing;

pub use attack::Family;
pub use game::{Answer, Field, Game, Oracle, Policy};
pub use measure::{BUDGETS, Loot, ScoringError, steal};
pub use table::{Cell, Mean, Shown, Table};
pub use theft::Theft;
