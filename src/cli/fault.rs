//! Errors as people meet them: what was attempted, the chain of causes once, and a hint.

use anstyle::{AnsiColor, Style};
use std::error::Error;
use std::fmt::{self, Write as _};

const RED: Style = AnsiColor::Red.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// The command line was understood, and asks for something that there is not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// An error for which the command line is to blame; it exits with 2.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// An error with advice. It stands in for the error that it wraps and adds nothing to the chain.
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

/// Adds what to do about an error.
pub trait Hint<T> {
    /// Adds a hint, without a full stop, to the error if there is one.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Hint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| with_hint(error.into(), hint))
    }
}

/// An error with advice.
pub fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    Hinted { error, hint: hint.into() }.into()
}

impl fmt::Debug for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.chain().nth(1)
    }
}

/// The error of this kind that is behind an error, under contexts and hints.
pub fn cause<T: Error + 'static>(error: &anyhow::Error) -> Option<&T> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<T>()
            .or_else(|| cause.downcast_ref::<Hinted>().and_then(|hinted| self::cause(&hinted.error)))
    })
}

/// An error with its chain, each cause once, and its hint.
pub fn render_error(error: &anyhow::Error) -> String {
    let mut text = format!("{RED}error{RED:#}: {error}\n");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let message = cause.to_string();
        // Libraries repeat their source in their own message; once is enough.
        if said.ends_with(&message) {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  because: {message}");
        said = message;
    }
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        let _ = writeln!(text, "{CYAN}hint{CYAN:#}: {}", hinted.hint);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    fn shown(error: &anyhow::Error) -> String {
        anstream::adapter::strip_str(&render_error(error)).to_string()
    }

    #[test]
    fn an_error_tells_its_chain_once_and_ends_with_the_hint() {
        let failed: anyhow::Result<()> = Err(anyhow!("no such file"));
        let error = failed.context("cannot read `a`").hint("make `a`").context("cannot plan").unwrap_err();
        insta::assert_snapshot!(shown(&error), @r"
        error: cannot plan
          because: cannot read `a`
          because: no such file
        hint: make `a`
        ");
    }

    #[test]
    fn a_message_that_repeats_its_source_is_not_told_twice() {
        let error = anyhow!("refused").context("cannot connect: refused");
        insta::assert_snapshot!(shown(&error), @"error: cannot connect: refused");
    }

    #[test]
    fn a_mistake_in_the_command_line_is_known_under_a_context() {
        let error = usage("no such form").context("cannot list");
        assert!(cause::<Usage>(&error).is_some());
        let error = Err::<(), _>(error).hint("try another").unwrap_err();
        assert!(cause::<Usage>(&error).is_some());
    }
}
