//! Why a verb gave up.

use std::fmt::Display;
use std::path::Path;

use crate::shape::Mismatch;

/// The message of a verb that gave up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CommandError(pub(super) String);

impl CommandError {
    pub(super) fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }

    /// A message about that file.
    pub(super) fn about(path: &Path, message: impl Display) -> Self {
        Self(format!("{}: {message}", path.display()))
    }

    /// The same message with its file in front.
    pub(super) fn at(self, path: &Path) -> Self {
        Self::about(path, self)
    }
}

impl From<Mismatch> for CommandError {
    fn from(Mismatch { message, help }: Mismatch) -> Self {
        let help = help.map_or_else(String::new, |help| format!("\n  help: {help}"));
        Self(message + &help)
    }
}
