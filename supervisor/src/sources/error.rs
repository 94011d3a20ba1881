//! Why a model in files is not had.

use std::time::Duration;

use crate::code::Code;
use crate::pool::turns;

/// A model that is not there, or may not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder is configured.
    #[error("this server serves no models from files")]
    NoRoots,
    /// No Menagerie is configured.
    #[error("this server has no MuJoCo Menagerie")]
    NoMenagerie,
    /// The path cannot be one.
    #[error("the path `{}` {problem}", shown(.path))]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no such file.
    #[error("there is no file `{}` below this server's roots", shown(.path))]
    Missing {
        /// The path.
        path: String,
    },
    /// A file of the model names one that it cannot have.
    #[error("{} names `{}`, {problem}", shown(.document), shown(.path))]
    Named {
        /// Which file names it.
        document: String,
        /// What it names.
        path: String,
        /// What is wrong with that.
        problem: &'static str,
    },
    /// Two files that the engine would take for one.
    #[error("two different files of the model are called `{}`, and a URDF's files are told apart by their names alone", shown(.name))]
    Clash {
        /// Their name.
        name: String,
    },
    /// More than may be.
    #[error("{what}: at most {max} are allowed")]
    TooMuch {
        /// What.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Neither the catalogue nor the folder knows the name.
    #[error("there is no model `{}` in MuJoCo Menagerie{}", shown(.name), .nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?")))]
    Unknown {
        /// The name.
        name: String,
        /// The most similar name that there is.
        nearest: Option<String>,
    },
    /// The catalogue knows it, but it is not in the folder.
    #[error("the model `{name}` is not installed on this server")]
    Absent {
        /// The name.
        name: String,
    },
    /// The folder has several models and no word which of them is meant.
    #[error("the model `{name}` has no file `{}`; its files are {}", shown(.entry), .entries.join(", "))]
    NoEntry {
        /// The model's name.
        name: String,
        /// The file that was looked for.
        entry: String,
        /// The files that there are.
        entries: Vec<String>,
    },
    /// Too many are being read.
    #[error(transparent)]
    Busy(#[from] turns::Error),
    /// The kernel cannot resolve paths beneath a folder.
    #[error("this server cannot serve models from files: its kernel has no openat2")]
    Kernel,
    /// The system says no.
    #[error("a model's file could not be read")]
    Io(#[source] std::io::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NoRoots | Self::NoMenagerie | Self::Kernel => "model_files_unavailable",
            Self::Path { .. } => "model_path_refused",
            Self::Missing { .. } => "model_path_unknown",
            Self::Named { .. } | Self::Clash { .. } => "model_invalid",
            Self::TooMuch { .. } => "limit_exceeded",
            Self::Unknown { .. } | Self::NoEntry { .. } => "menagerie_model_unknown",
            Self::Absent { .. } => "menagerie_model_absent",
            Self::Busy(error) => error.code(),
            Self::Io(_) => "model_files_unavailable",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoRoots => {
                "the operator names folders in models.roots (--models-root); or pass model_xml"
            }
            Self::NoMenagerie => "the operator names its folder in models.menagerie_dir",
            Self::Path { .. } | Self::Missing { .. } => {
                "pass a path below one of the server's roots, such as `robots/arm.xml`"
            }
            Self::Unknown { .. } => "list_menagerie_models tells the names",
            Self::Absent { .. } => "list_menagerie_models with present_only tells which are",
            Self::Kernel => "the operator needs Linux 5.6 or newer; or pass model_xml",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// A path that may come from anybody, as far as it is repeated.
fn shown(path: &str) -> String {
    path.chars().take(200).flat_map(char::escape_debug).collect()
}
