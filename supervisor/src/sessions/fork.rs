//! Copies of a session, from its exact state.

use std::sync::Arc;

use super::{Error, Seat, Sessions, plan};
use crate::session::lifecycle::Closed;
use crate::session::{Copied, Holdings, Session};
use crate::store::checkpoints::copy;
use crate::store::{self, Record};
use crate::whole;

/// The most copies of one call.
const COUNT_MAX: usize = 16;

impl Sessions {
    /// Makes copies of a session: all of them, or none. Each holds the same models in the same
    /// state, with the same limits; what runs in the background runs on in the original only.
    ///
    /// It happens on a task of its own: of a fork that nobody waits for any more nothing is left.
    pub async fn fork(
        &self,
        source: &Session,
        count: usize,
        name: Option<String>,
    ) -> Result<Vec<Session>, Error> {
        if !(1..=COUNT_MAX).contains(&count) {
            let problem = format!("must lie between 1 and {COUNT_MAX}, and is {count}");
            return Err(Error::Argument { field: "count", problem });
        }
        if let Some(name) = &name {
            plan::check_name(name)?;
        }
        let (sessions, source) = (self.clone(), source.clone());
        let fork = async move { sessions.fork_all(&source, count, name).await };
        whole::or_undone(fork, undo).await.unwrap_or(Err(Error::Stopping))
    }

    async fn fork_all(
        &self,
        source: &Session,
        count: usize,
        name: Option<String>,
    ) -> Result<Vec<Session>, Error> {
        let tenant = &source.plan().tenant;
        // Seats for all, before anything is done for one.
        let seats = (0..count).map(|_| self.sit_down(tenant)).collect::<Result<Vec<_>, _>>()?;
        // Once for all: they begin at the same point.
        let models = source.copy().await?;
        let mut copies = Vec::with_capacity(count);
        for seat in seats {
            let record = plan::copy_of(source.holdings().record(), name.clone());
            match self.fork_one(&models, seat, &record).await {
                Ok(copy) => copies.push(copy),
                Err(error) => {
                    undo(copies).await;
                    return Err(error);
                }
            }
        }
        Ok(copies)
    }

    async fn fork_one(
        &self,
        models: &[Copied],
        seat: Seat,
        record: &Record,
    ) -> Result<Session, Error> {
        let holdings = Arc::new(Holdings::new(self.store().clone(), record.clone()));
        let (models, into) = (models.to_vec(), Arc::clone(&holdings));
        let max = self.config().checkpoint_bytes_max;
        let filled = self.store().run(move |_| fill(&into, models, max)).await;
        if let Err(error) = filled {
            let forget = Arc::clone(&holdings);
            tokio::task::spawn_blocking(move || forget.forget()).await.ok();
            return Err(error.into());
        }
        self.found(seat, record, holdings).await
    }
}

fn fill(holdings: &Holdings, models: Vec<Copied>, max: u64) -> Result<(), store::Error> {
    for Copied { model_id, model, state, .. } in models {
        let fresh = holdings.fresh(&model, max)?;
        copy(&state, &fresh.file, model.about.state_values)?;
        holdings.add(&model_id, model, fresh.number)?;
    }
    Ok(())
}

async fn undo(copies: Vec<Session>) {
    for copy in copies {
        copy.close(Closed::NeverStarted).await;
    }
}
