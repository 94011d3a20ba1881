//! Files that are there whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

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
    let beside = path.with_extension("new");
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
