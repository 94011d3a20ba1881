//! Files that are there whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The extension of what is not finished.
const UNFINISHED: &str = "new";

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Whether a file is one that somebody writes.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == UNFINISHED)
}

/// Removes what an earlier daemon did not finish.
pub(super) fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_unfinished(&entry.path()) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// Makes a folder that only this user can look into.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a file that only this user can open.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a file in place of another one: at every moment one of the two is there, whole.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    // Two who write the same do not meet.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{number}.{UNFINISHED}"));
    let written = create(&beside).and_then(|mut file| {
        write(&mut file)?;
        file.flush()?;
        std::fs::rename(&beside, path)?;
        Ok(file)
    });
    if written.is_err() {
        std::fs::remove_file(&beside).ok();
    }
    written
}

/// Moves what cannot be read out of the way, so that somebody can look at it.
pub(super) fn move_aside(path: &Path, folder: &Path) {
    let Some(name) = path.file_name() else { return };
    let moved = private_folder(folder).and_then(|()| std::fs::rename(path, folder.join(name)));
    if let Err(error) = moved {
        tracing::warn!(path = %path.display(), %error, "what is damaged could not be moved aside");
    }
}
