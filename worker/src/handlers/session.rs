//! Sessions come and go.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use simward_protocol::call::Serve;
use simward_protocol::fault::{Fault, cut};
use simward_protocol::session::{
    CloseSession, Listen, OpenSession, SessionClosed, SessionOpened, Terms,
};

use crate::endpoint::{self, Port};
use crate::world::meter::Meter;
use crate::world::pace::Pace;
use crate::world::{Slot, World};

impl Serve<OpenSession> for World {
    fn serve(&mut self, slot: u32, call: OpenSession) -> Result<SessionOpened, Fault> {
        let OpenSession { session_id, token, terms } = call;
        if self.slots.contains_key(&slot) {
            return Err(Fault::Slot { slot });
        }
        if self.attached.is_empty() {
            return Err(no_meter("none came along"));
        }
        // A socket may come after it.
        let meter = Meter::open(&self.attached.remove(0)).map_err(no_meter)?;
        let (meter, models) = (Rc::new(meter), std::collections::BTreeMap::new());
        let Terms { models_max, step_rate, cpu_ratio } = terms;
        let pace = Pace::new(step_rate, cpu_ratio, Instant::now());
        let (waiting, port) = (Vec::new(), None);
        let room = Slot { session_id, token, models_max, models, waiting, pace, meter, port };
        self.slots.insert(slot, room);
        self.shared.told.open(slot, terms);
        let listening = self.listen(slot)?;
        Ok(SessionOpened { listening })
    }
}

impl Serve<Listen> for World {
    fn serve(&mut self, slot: u32, Listen {}: Listen) -> Result<SessionOpened, Fault> {
        let listening = self.listen(slot)?;
        Ok(SessionOpened { listening })
    }
}

impl Serve<CloseSession> for World {
    fn serve(&mut self, slot: u32, CloseSession {}: CloseSession) -> Result<SessionClosed, Fault> {
        let closed = self.slots.remove(&slot).ok_or(Fault::Slot { slot })?;
        self.shared.told.close(slot);
        self.runs.retain(|run| run.slot != slot);
        self.finished.retain(|(of, _), _| *of != slot);
        self.timing.end(slot);
        self.shared.pulse.runs(!self.runs.is_empty());
        self.shared.stage.shut(slot);
        if let Some(port) = closed.port {
            port.close();
        }
        Ok(SessionClosed { models_freed: u32::try_from(closed.models.len()).unwrap_or(u32::MAX) })
    }
}

impl World {
    /// Opens the port whose listening socket came with the call, if one did.
    fn listen(&mut self, slot: u32) -> Result<bool, Fault> {
        let Some(socket) = self.attached.pop() else { return Ok(false) };
        let (shared, jobs) = (Arc::clone(&self.shared), self.jobs.clone());
        let room = self.slot(slot)?;
        let page = endpoint::Page {
            slot,
            session_id: room.session_id.clone(),
            token: room.token.clone(),
            shared,
            jobs,
        };
        room.port = Port::open(TcpListener::from(socket), page).ok();
        Ok(room.port.is_some())
    }
}

fn no_meter(problem: impl Into<String>) -> Fault {
    Fault::Invalid { field: "meter".into(), problem: cut(problem.into()) }
}
