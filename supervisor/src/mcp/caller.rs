//! Who is calling, over what, and how to tell them of progress.

use std::time::Duration;

use http::request::Parts;
use rmcp::handler::server::common::FromContextPart;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, Peer, RoleServer};
use simward_protocol::call::Call;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::McpServer;
use super::refusal::Refusal;
use crate::auth::Principal;
use crate::session::Session;
use crate::sessions::Connection;
use crate::spans::phases;
use crate::tenants::Tenant;
use crate::worker::Options;

/// The caller of a tool. A tool that takes none cannot reach a session.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) tenant: Tenant,
    /// Who it is, and what it may do.
    pub(super) principal: Principal,
    pub(super) connection: Connection,
    /// The client withdraws the call.
    withdrawn: CancellationToken,
    /// Where the client wants to hear of progress.
    progress: Option<(ProgressToken, Peer<RoleServer>)>,
}

impl FromContextPart<ToolCallContext<'_, McpServer>> for Caller {
    fn from_context_part(context: &mut ToolCallContext<'_, McpServer>) -> Result<Self, ErrorData> {
        Self::of(&context.request_context)
    }
}

impl Caller {
    /// Who makes a request.
    pub(super) fn of(request: &RequestContext<RoleServer>) -> Result<Self, ErrorData> {
        let (principal, connection) = match request.extensions.get::<Parts>() {
            // Standard input has one client, who owns everything.
            None => (Principal::local(), Connection::One("stdio".into())),
            Some(parts) => {
                let principal = parts.extensions.get::<Principal>().cloned();
                let principal = principal.ok_or_else(|| {
                    ErrorData::internal_error("the request came without a sender", None)
                })?;
                // The newer protocol has no conversations, whatever its headers say.
                let id = parts.headers.get("mcp-session-id").filter(|_| !super::is_modern(request));
                let id = id.and_then(|id| id.to_str().ok());
                (principal, id.map_or(Connection::Any, |id| Connection::One(id.into())))
            }
        };
        let token = request.meta.get_progress_token();
        Ok(Self {
            tenant: principal.tenant.clone(),
            principal,
            connection,
            withdrawn: request.ct.clone(),
            progress: token.map(|token| (token, request.peer.clone())),
        })
    }

    /// The same caller, who hears of no progress: of a part of what it asked for.
    pub(super) fn without_progress(&self) -> Self {
        Self { progress: None, ..self.clone() }
    }

    /// Waits for work that can be given up at any moment, as long as the client wants it.
    pub(super) async fn unless_withdrawn<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Refusal>
    where
        Refusal: From<E>,
    {
        tokio::select! {
            done = work => Ok(done?),
            () = self.withdrawn.cancelled() => Err(Refusal::cancelled()),
        }
    }

    /// Waits for work, and tells the client how far it has come, if it wants to hear of that.
    pub(super) async fn hearing_of_progress<T>(
        &self,
        mut told: watch::Receiver<(u64, u64)>,
        work: impl Future<Output = T>,
    ) -> T {
        let Some((token, peer)) = &self.progress else { return work.await };
        tokio::pin!(work);
        let mut last = 0;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Ok(()) = told.changed() => {
                    let (done, total) = *told.borrow_and_update();
                    // Progress must grow, or it is none.
                    if last < done {
                        last = done;
                        let news = progress_of(token, done, total);
                        tokio::time::timeout(NEWS_PATIENCE, peer.notify_progress(news)).await.ok();
                    }
                }
            }
        }
    }
}

/// How long a client may take to accept a piece of news. One that does not read must not hold its
/// own call.
const NEWS_PATIENCE: Duration = Duration::from_millis(100);

impl McpServer {
    /// The session that a call means.
    pub(super) async fn session(
        &self,
        caller: &Caller,
        session_id: Option<&str>,
    ) -> Result<Session, Refusal> {
        // A default session is created at its first use.
        let waiting = phases::waiting();
        let resolve = self.sessions().resolve(&caller.tenant, &caller.connection, session_id);
        let session = caller.unless_withdrawn(resolve).await?;
        drop(waiting);
        phases::of_session(&session.plan().id);
        Ok(session)
    }

    /// Asks the worker of the session that a call means.
    pub(super) async fn ask<C: Call>(
        &self,
        caller: &Caller,
        session_id: Option<&str>,
        call: C,
    ) -> Result<C::Reply, Refusal> {
        let session = self.session(caller, session_id).await?;
        let withdrawn = caller.withdrawn.child_token();
        if caller.progress.is_none() {
            return Ok(session.call(call, Options { withdrawn, ..Options::default() }).await?);
        }
        let (tell, told) = watch::channel((0, 0));
        let options = Options { withdrawn, progress: Some(tell), ..Options::default() };
        Ok(caller.hearing_of_progress(told, session.call(call, options)).await?)
    }
}

#[expect(clippy::cast_precision_loss, reason = "progress is floating point in MCP")]
fn progress_of(token: &ProgressToken, done: u64, total: u64) -> ProgressNotificationParam {
    let news = ProgressNotificationParam::new(token.clone(), done as f64);
    if total == 0 { news } else { news.with_total(total as f64) }
}
