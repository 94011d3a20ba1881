//! Who may watch.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::viewer::{AdmitViewers, ViewersAdmitted};

use crate::endpoint;
use crate::world::World;

impl Serve<AdmitViewers> for World {
    fn serve(&mut self, slot: u32, call: AdmitViewers) -> Result<ViewersAdmitted, Fault> {
        let AdmitViewers { look, steer } = call;
        self.slot(slot)?;
        let watching = self.shared.stage.admit(slot, look, steer);
        let watching = u32::try_from(watching).unwrap_or(u32::MAX);
        Ok(ViewersAdmitted { watching, has_page: endpoint::HAS_PAGE })
    }
}
