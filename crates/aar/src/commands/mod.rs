//! One module for each command.

pub(crate) mod board;
pub(crate) mod case;
pub(crate) mod compare;
pub(crate) mod doctor;
pub(crate) mod problem;
pub(crate) mod redteam;
pub(crate) mod run;
pub(crate) mod verify;

use std::fmt;
use std::io::{self, Write as _};

/// Prints a line to standard output. A reader who has seen enough, like `head`, is no error: the
/// exit code goes on to say what the command found.
macro_rules! say {
    ($($part:tt)*) => {
        crate::commands::print_line(format_args!($($part)*))
    };
}
pub(crate) use say;

pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{line}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tell(&format!("error: cannot write to standard output: {error}"));
    }
}

/// Prints a line to standard error. Whether anybody still listens there changes nothing.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
