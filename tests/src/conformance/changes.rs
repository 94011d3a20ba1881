//! Tools that change a list, and those who hear of it.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use rmcp::handler::server::router::tool::ToolRoute;
use rmcp::service::SubscriptionSink;
use tokio::sync::watch;

use super::{Fixtures, route, said, tool};

/// A change that comes while a listener is being let in is news to it, too.
const JUST_NOW: Duration = Duration::from_secs(1);

/// When each of the lists was last said to have changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    tools: watch::Sender<Option<Instant>>,
    prompts: watch::Sender<Option<Instant>>,
}

pub(super) fn routes() -> Vec<ToolRoute<Fixtures>> {
    vec![
        route(tool("test_trigger_tool_change", "Says that the tools have changed"), |call| {
            call.service.own.changes.tools.send_replace(Some(Instant::now()));
            std::future::ready(Ok(said("They have changed."))).boxed()
        }),
        route(tool("test_trigger_prompt_change", "Says that the prompts have changed"), |call| {
            call.service.own.changes.prompts.send_replace(Some(Instant::now()));
            std::future::ready(Ok(said("They have changed."))).boxed()
        }),
    ]
}

impl Changes {
    /// Tells of changes until nobody hears. The sink lets through what was asked for.
    pub(super) async fn tell(&self, sink: &SubscriptionSink) {
        let (mut tools, mut prompts) = (self.tools.subscribe(), self.prompts.subscribe());
        if is_news(&tools) {
            tools.mark_changed();
        }
        if is_news(&prompts) {
            prompts.mark_changed();
        }
        loop {
            tokio::select! {
                changed = tools.changed() => {
                    if changed.is_err() { return; }
                    sink.notify_tool_list_changed().await.ok();
                }
                changed = prompts.changed() => {
                    if changed.is_err() { return; }
                    sink.notify_prompt_list_changed().await.ok();
                }
            }
        }
    }
}

fn is_news(changed: &watch::Receiver<Option<Instant>>) -> bool {
    changed.borrow().is_some_and(|changed| changed.elapsed() < JUST_NOW)
}
