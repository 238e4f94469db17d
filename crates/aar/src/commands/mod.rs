//! One module for each command.

pub(crate) mod activations;
pub(crate) mod anchors;
pub(crate) mod bench;
pub(crate) mod board;
pub(crate) mod case;
pub(crate) mod compare;
mod critic;
pub(crate) mod doctor;
pub(crate) mod estimate;
pub(crate) mod hub;
pub(crate) mod lab;
pub(crate) mod problem;
pub(crate) mod redteam;
pub(crate) mod run;
pub(crate) mod score;
pub(crate) mod token;
pub(crate) mod transcript;
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
    if let Err(error) = writeln!(io::stdout(), "{}", plain(&line.to_string()))
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tell(&format!("error: cannot write to standard output: {error}"));
    }
}

/// Prints a line to standard error. Whether anybody still listens there changes nothing.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(line));
}

/// What is printed quotes files and researchers; neither may steer the terminal that shows it.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' && character != '\t' {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}"), "a\\u{1b}[2Jb\nc\\u{9b}");
    }
}
