//! Copies of a session, from its exact state.

use std::sync::Arc;

use super::{Error, Request, Seat, Sessions, plan};
use crate::session::lifecycle::Closed;
use crate::session::{Holdings, Isolation, Session};

/// The most copies of one call.
const COUNT_MAX: usize = 16;

impl Sessions {
    /// Makes copies of a session: all of them, or none. Each holds the same models in the same
    /// state, with the same limits; what runs in the background runs on in the original only.
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
        let tenant = &source.plan().tenant;
        // Seats for all, before anything is done for one.
        let seats = (0..count).map(|_| self.sit_down(tenant)).collect::<Result<Vec<_>, _>>()?;
        let mut copies = Vec::with_capacity(count);
        for seat in seats {
            match self.fork_one(source, seat, name.clone()).await {
                Ok(copy) => copies.push(copy),
                Err(error) => {
                    for copy in copies {
                        Session::close(&copy, Closed::NeverStarted).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(copies)
    }

    async fn fork_one(
        &self,
        source: &Session,
        seat: Seat,
        name: Option<String>,
    ) -> Result<Session, Error> {
        let of = source.plan();
        let request = Request {
            name: name.or_else(|| of.name.clone()),
            // A copy that shares would wait for its original.
            isolation: Isolation::Process,
            idle_timeout_secs: Some(of.idle_timeout.as_secs_f64()),
            limits: of.limits,
            is_default: false,
        };
        let record = plan::record(&of.tenant, request, self.config())?;
        let holdings = Arc::new(Holdings::new(self.store().clone(), record.clone()));
        let copied = source.copy_to(&holdings).await;
        if let Err(error) = copied {
            let forget = Arc::clone(&holdings);
            tokio::task::spawn_blocking(move || forget.forget()).await.ok();
            return Err(error.into());
        }
        self.found(seat, &record, holdings).await
    }
}
