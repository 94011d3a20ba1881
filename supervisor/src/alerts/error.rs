//! Why something about rules cannot be.

use super::book::SILENCES_PER_OWNER_MAX;
use super::rule::RuleError;
use crate::code::Code;

/// It cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator wants no rules.
    #[error("this server has no alerts (alerts.enabled)")]
    Off,
    /// There can be no such rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// There is none, or there are enough.
    #[error(transparent)]
    Book(#[from] BookError),
    /// It could not be written down, and is not so.
    #[error("it could not be kept, and was not done")]
    NotKept(#[source] std::io::Error),
    /// A trial looks at too much.
    #[error("the trial takes more than {} s: try it on a shorter time", super::replay::DEADLINE.as_secs())]
    TooLong,
    /// Somebody else's trial is under way.
    #[error("another trial is under way")]
    Busy,
    /// A defect of ours.
    #[error("the server has a defect; nothing else is affected")]
    Defect,
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Off => "alerts_off",
            Self::Rule(error) => error.code(),
            Self::Book(error) => error.code(),
            Self::NotKept(_) => "storage_failed",
            Self::TooLong => "query_too_long",
            Self::Busy => "query_busy",
            Self::Defect => "internal_error",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Rule(error) => error.hint(),
            Self::Book(error) => error.hint(),
            Self::Off | Self::NotKept(_) | Self::TooLong | Self::Busy | Self::Defect => None,
        }
    }
}

/// Something that cannot be written into the book.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// There are enough rules.
    #[error("there may be {max} rules {whose}, and there are")]
    Full {
        /// How many there may be.
        max: usize,
        /// Of whom.
        whose: &'static str,
    },
    /// Only the configuration can change it.
    #[error("the rule `{0}` stands in the server's configuration, and is changed only there")]
    Configured(String),
    /// There is no such rule.
    #[error("there is no rule `{0}`")]
    Unknown(String),
    /// There are enough silences.
    #[error("there may be {SILENCES_PER_OWNER_MAX} silences at a time, and there are")]
    SilencesFull,
}

impl Code for BookError {
    fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } | Self::SilencesFull => "limit_exceeded",
            Self::Configured(_) => "rule_configured",
            Self::Unknown(_) => "rule_unknown",
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Unknown(_))
            .then(|| "get_performance_alerts lists the rules".to_owned())
    }
}
