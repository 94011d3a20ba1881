//! Snapshots, by handles that mean the same in every session of a tenant.

use simward_protocol::simulation::Applied;

use super::Sessions;
use crate::session::{self, Session, Snapshot};
use crate::tenants::Tenant;
use crate::{handle, whole};

impl Sessions {
    /// Keeps the state of a model; tells the snapshot's handle. Whoever gives up halfway leaves none.
    pub async fn take_snapshot(
        &self,
        session: &Session,
        model_id: Option<&str>,
    ) -> Result<(String, Snapshot), session::Error> {
        let id = handle::new("snap_");
        let (taking, deleting) = (session.clone(), session.clone());
        let (named, model_id) = (id.clone(), model_id.map(str::to_owned));
        let take = async move {
            let snapshot = taking.take_snapshot(named.clone(), model_id.as_deref()).await?;
            Ok((named, snapshot))
        };
        let undo = move |_unwanted| async move {
            deleting.delete_snapshot(&id).await.ok();
        };
        let gone = session::Error::Closed { id: session.plan().id.to_string() };
        whole::or_undone(take, undo).await.unwrap_or(Err(gone))
    }

    /// Brings a model of a session to the state of one of its tenant's snapshots.
    pub async fn restore_snapshot(
        &self,
        session: &Session,
        snapshot_id: &str,
        model_id: Option<&str>,
    ) -> Result<Applied, session::Error> {
        let from = self.holder(&session.plan().tenant, snapshot_id)?;
        session.restore_snapshot(&from, snapshot_id, model_id).await
    }

    /// Forgets one of a tenant's snapshots.
    pub async fn delete_snapshot(
        &self,
        tenant: &Tenant,
        snapshot_id: &str,
    ) -> Result<(), session::Error> {
        self.holder(tenant, snapshot_id)?.delete_snapshot(snapshot_id).await
    }

    /// The session that holds a snapshot.
    fn holder(&self, tenant: &Tenant, snapshot_id: &str) -> Result<Session, session::Error> {
        let holds = |session: &Session| session.holdings().has_snapshot(snapshot_id);
        let unknown = || session::Error::SnapshotUnknown(snapshot_id.chars().take(80).collect());
        self.list(tenant).into_iter().find(holds).ok_or_else(unknown)
    }
}
