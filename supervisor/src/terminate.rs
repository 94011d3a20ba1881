//! Ending a process on an operator's word, for good or for another one.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::session::lifecycle::Closed;
use crate::session::{self, Session};
use crate::sessions::Sessions;

/// Whose process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The session's.
    Session(String),
    /// That one, if it is ours.
    Pid(u32),
}

/// What was ended, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Terminated {
    /// The process, if there was one.
    pub pid: Option<u32>,
    /// The sessions that were closed with it.
    pub sessions_closed: Vec<String>,
    /// How the process ended; nothing after a dry run.
    pub ending: Option<String>,
}

/// There is no such process.
#[derive(Debug, thiserror::Error)]
#[error("no session has {0}")]
pub struct NotOurs(String);

impl Code for NotOurs {
    fn code(&self) -> &'static str {
        "process_unknown"
    }

    fn hint(&self) -> Option<String> {
        Some("list_active_processes shows what there is".to_owned())
    }
}

/// Ends a process, and closes the sessions that it served.
pub async fn terminate(sessions: &Sessions, target: Target) -> Result<Terminated, NotOurs> {
    let all = sessions.all();
    let (found, together) = with_companions(&all, &target)?;
    let pid = pid_of(found);
    let worker = found.status().worker.clone();
    let close = together.iter().map(|session| session.close(Closed::Terminated));
    let close = futures::future::join_all(close);
    // At once: the end of a process does not wait for what its sessions are doing.
    let stop = async {
        match worker {
            Some((worker, _)) => Some(worker.stop().await.to_string()),
            None => None,
        }
    };
    let (_, ending) = futures::future::join(close, stop).await;
    Ok(Terminated { pid, sessions_closed: ids(&together), ending })
}

/// What [`terminate`] would end.
pub fn would_terminate(sessions: &Sessions, target: &Target) -> Result<Terminated, NotOurs> {
    let all = sessions.all();
    let (found, together) = with_companions(&all, target)?;
    Ok(Terminated { pid: pid_of(found), sessions_closed: ids(&together), ending: None })
}

/// A session, and all that share its process.
fn with_companions<'a>(
    all: &'a [Session],
    target: &Target,
) -> Result<(&'a Session, Vec<&'a Session>), NotOurs> {
    let found = find(all, target)?;
    let together = match pid_of(found) {
        None => vec![found],
        pid => all.iter().filter(|session| pid_of(session) == pid).collect(),
    };
    Ok((found, together))
}

fn ids(sessions: &[&Session]) -> Vec<String> {
    sessions.iter().map(|session| session.plan().id.to_string()).collect()
}

/// What was started anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Restarted {
    /// The session.
    pub session_id: String,
    /// The process that it had.
    pub pid_before: Option<u32>,
    /// The process that it has now.
    pub pid: Option<u32>,
}

/// A process that was not started anew.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// There is no such process.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The session did not come back.
    #[error(transparent)]
    Session(#[from] session::Error),
}

impl Code for RestartError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotOurs(error) => error.code(),
            Self::Session(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotOurs(error) => error.hint(),
            Self::Session(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::NotOurs(_) => None,
            Self::Session(error) => error.retry_after(),
        }
    }
}

/// Gives a session another process, in the state that was last acknowledged. A call that is under
/// way is refused, and undone.
pub async fn restart(sessions: &Sessions, target: &Target) -> Result<Restarted, RestartError> {
    let session = find(&sessions.all(), target)?.clone();
    let pid_before = pid_of(&session);
    session.replace_worker().await?;
    let session_id = session.plan().id.to_string();
    Ok(Restarted { session_id, pid_before, pid: pid_of(&session) })
}

fn find<'a>(all: &'a [Session], target: &Target) -> Result<&'a Session, NotOurs> {
    let found = all.iter().find(|session| match target {
        Target::Session(id) => *session.plan().id == **id,
        Target::Pid(pid) => pid_of(session) == Some(*pid),
    });
    found.ok_or_else(|| {
        NotOurs(match target {
            Target::Session(id) => {
                format!("the handle `{}`", id.chars().take(80).collect::<String>())
            }
            Target::Pid(pid) => format!("the process {pid}"),
        })
    })
}

fn pid_of(session: &Session) -> Option<u32> {
    session.status().worker.as_ref().map(|(worker, _)| worker.facts().pid.unsigned_abs())
}
