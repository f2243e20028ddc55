//! The only code of the desk that reads files, apart from secrets.

use std::fs::{File, Metadata};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use super::error::CommandError;
use crate::compile::directory::MOST_BYTES;

/// Reads a text file, without its byte order mark.
pub(super) fn read(path: &Path) -> Result<String, CommandError> {
    let text = String::from_utf8(bytes(path)?)
        .map_err(|_| CommandError::new("invalid UTF-8: expected a text file"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a file, or a pipe that a shell opened for this process. Other pipes and devices are
/// refused, since reading them may never end.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, CommandError> {
    let unreadable = |error: std::io::Error| CommandError(format!("can't be read: {error}"));
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(CommandError::new("this is a directory: expected a file"));
    }
    if !metadata.is_file() && !is_from_shell(path, &metadata) {
        return Err(CommandError::new(
            "not a regular file: of pipes and devices, only `/dev/stdin` and `<(…)` are read",
        ));
    }
    let too_large = metadata.is_file() && metadata.len() > MOST_BYTES;
    let mut bytes = Vec::new();
    if !too_large {
        bytes.reserve(usize::try_from(metadata.len()).unwrap_or_default());
        File::open(path)
            .and_then(|file| file.take(MOST_BYTES.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(unreadable)?;
    }
    if too_large || u64::try_from(bytes.len()).is_ok_and(|size| size > MOST_BYTES) {
        let most = MOST_BYTES / 1_000_000;
        return Err(CommandError(format!("file too large: at most {most} MB are read")));
    }
    Ok(bytes)
}

/// Writes another file and renames it, so that readers see the old content or the new.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = replacement(path);
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, path)
}

/// The file that [`replace`] writes and renames.
pub(super) fn replacement(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

/// Whether this is a pipe or a terminal among the process's own descriptors.
fn is_from_shell(path: &Path, metadata: &Metadata) -> bool {
    let own = path == Path::new("/dev/stdin")
        || ["/dev/fd", "/proc/self/fd"]
            .iter()
            .any(|folder| path.parent() == Some(Path::new(folder)));
    own && (is_pipe(metadata) || File::open(path).is_ok_and(|file| file.is_terminal()))
}

#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_pipe(_: &Metadata) -> bool {
    false
}
