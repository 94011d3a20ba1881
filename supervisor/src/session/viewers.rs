//! Who may watch a session: whoever has a link with one of its tokens.
//!
//! The tokens last until the viewer is closed, however often the worker is replaced; they are not
//! kept beyond the daemon's end.

use std::sync::Arc;

use simward_protocol::viewer::{AdmitViewers, ViewersAdmitted};

use super::error::{Error, OpenPortError};
use super::{Session, ports};
use crate::handle;
use crate::worker::Options;

/// A way to watch a session.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The session's port.
    pub port: Arc<ports::Lease>,
    /// What the link has to have in it.
    pub token: String,
    /// Whether the worker has the viewer's page.
    pub has_page: bool,
}

impl Session {
    /// Opens the session's port, if it has none yet, to who comes with the token that this returns:
    /// to look or, with `steers`, to steer as well.
    pub async fn open_viewer(
        &self,
        ports: &ports::Ports,
        steers: bool,
    ) -> Result<Viewer, OpenPortError> {
        self.open_port(ports).await?;
        let (token, admitted) = self.holdings().admit(|admitted| {
            let token = if steers { &mut admitted.steer } else { &mut admitted.look };
            token.get_or_insert_with(|| handle::new("")).clone()
        });
        let ViewersAdmitted { has_page, .. } = self.call(admitted, Options::default()).await?;
        // Gone if the session was put to sleep just now.
        let port = self.port().ok_or(Error::Restarting)?;
        Ok(Viewer { port, token, has_page })
    }

    /// Makes every link to the viewer worthless and turns out who watches; tells how many did.
    pub async fn close_viewers(&self) -> Result<u32, Error> {
        let ((), admitted) = self.holdings().admit(|admitted| *admitted = AdmitViewers::default());
        Ok(self.call(admitted, Options::default()).await?.watching)
    }
}
