//! The file as others read it, beside the daemon or without it.

use std::path::{Path, PathBuf};

use super::columns::Columns;
use super::file::{Error, File};
use super::{Range, Tier, Wants};
use crate::telemetry::metric::Scope;
use crate::telemetry::monitor::FILE;
use crate::telemetry::series::Subject;

/// A history that is only read.
#[derive(Debug)]
pub struct Archive {
    file: File,
}

impl Archive {
    /// Where it is in a state folder.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Opens it. Nothing is made of what is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::read(path)?;
        file.check_layout()?;
        Ok(Self { file })
    }

    /// Subjects of a scope that were measured in a stretch of time.
    pub fn subjects(&self, scope: Scope, range: &Range) -> Result<Vec<Subject>, Error> {
        self.file.subjects(scope, range)
    }

    /// What of subjects begins in a stretch of time.
    pub fn columns(
        &self,
        subjects: &[&Subject],
        tier: Tier,
        range: &Range,
        wants: Wants<'_>,
    ) -> Result<Vec<(Subject, Columns)>, Error> {
        self.file.columns(subjects, tier, range, wants)
    }
}
