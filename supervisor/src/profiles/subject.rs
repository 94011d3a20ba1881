//! The process that a profile is of: the same one from its beginning to its end.

use std::collections::BTreeSet;

use simward_protocol::call::Call;

use super::{Error, Target};
use crate::session::Session;
use crate::worker::Worker;

/// A process that is looked at by its id. What was seen is its own only if it [is
/// there](Self::is_there) afterwards: until it is gone nobody else has the id.
#[derive(Debug)]
pub(super) struct Subject {
    pid: i32,
    /// Nothing of the daemon itself.
    worker: Option<Worker>,
    /// Whose worker, and the slot there.
    session: Option<(Session, u32)>,
}

impl Subject {
    /// The process that a target is, now. A session that sleeps is woken.
    pub(super) async fn of(target: &Target) -> Result<Self, Error> {
        let session = match target {
            Target::Supervisor => {
                let pid = i32::try_from(std::process::id()).map_err(|_large| Error::Gone)?;
                return Ok(Self { pid, worker: None, session: None });
            }
            Target::Session(session) => session.clone(),
        };
        session.wake().await?;
        let (worker, slot) = session.status().worker.clone().ok_or(Error::Gone)?;
        let pid = worker.facts().pid;
        Ok(Self { pid, worker: Some(worker), session: Some((session, slot)) })
    }

    /// A worker's that has no session.
    pub(super) fn alone(worker: Worker) -> Self {
        Self { pid: worker.facts().pid, worker: Some(worker), session: None }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the process has not ended, and the session has not left it.
    pub(super) fn is_there(&self) -> bool {
        let Some(worker) = &self.worker else { return true };
        let has_left = |(session, _): &(Session, u32)| {
            session.status().worker.as_ref().is_none_or(|(now, _)| !now.is(worker))
        };
        worker.facts().presence.lasts() && !self.session.as_ref().is_some_and(has_left)
    }

    /// Asks the session's worker: this one, whoever may be the next. Nobody is woken for it.
    pub(super) async fn ask<C: Call>(&self, call: C) -> Result<C::Reply, Error> {
        let (Some(worker), Some((session, slot))) = (&self.worker, &self.session) else {
            return Err(Error::NoSteps);
        };
        Ok(session.call_only((worker, *slot), call).await?)
    }

    /// What was told of models that the session has, once of each. A worker may tell anything.
    pub(super) fn own_models<T>(&self, told: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
        let Some((session, _)) = &self.session else { return Vec::new() };
        let max = usize::try_from(session.plan().models_max()).unwrap_or(usize::MAX);
        of_models(session.holdings().model_ids().into_iter().take(max).collect(), told, id)
    }
}

fn of_models<T>(mut ids: BTreeSet<String>, told: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    // Not in the place of what was told, which may be much more.
    let mut own = Vec::with_capacity(ids.len());
    own.extend(told.into_iter().filter(|model| ids.remove(id(model))));
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_worker_tells_only_models_that_there_are_are_kept_and_once() {
        let ids = ["a", "b"].map(str::to_owned).into();
        let told = vec!["b".to_owned(), "x".repeat(1 << 20), "b".to_owned(), "c".to_owned()];
        let own = of_models(ids, told, |id| id);
        assert_eq!(own, ["b"]);
        assert!(own.capacity() <= 2);
    }
}
