//! The log, on standard error. What is logged while a call is carried out has the call's trace.
//!
//! A span of `tracing` for each call would say it, too, but costs every call a microsecond, and
//! most calls log nothing.

use std::fmt;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Config, Format};
use crate::spans::{TraceId, phases};

/// Logs from now on what the configuration wants logged.
pub(super) fn start(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log.filter)
        .with_context(|| format!("`log.filter` is not a filter: {}", config.log.filter))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        Format::Human => log.map_event_format(|lines| Traced { lines, add: at_the_end }).init(),
        Format::Json => {
            let log = log.json().flatten_event(true);
            log.map_event_format(|lines| Traced { lines, add: as_the_first_field }).init();
        }
    }
    Ok(())
}

/// Lines, to which the trace is added of the call that is being carried out.
struct Traced<L> {
    lines: L,
    add: fn(&mut Writer<'_>, &str, TraceId) -> fmt::Result,
}

impl<L, S, N> FormatEvent<S, N> for Traced<L>
where
    L: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace) = phases::trace_id() else {
            return self.lines.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        (self.add)(&mut writer, &line, trace)
    }
}

/// For people.
fn at_the_end(writer: &mut Writer<'_>, line: &str, trace: TraceId) -> fmt::Result {
    writeln!(writer, "{} trace_id={trace}", line.trim_end_matches('\n'))
}

/// For programs: a line is an object, and never an empty one.
fn as_the_first_field(writer: &mut Writer<'_>, line: &str, trace: TraceId) -> fmt::Result {
    match line.strip_prefix('{') {
        Some(rest) => write!(writer, "{{\"trace_id\":\"{trace}\",{rest}"),
        None => writer.write_str(line),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use tracing_subscriber::fmt::SubscriberBuilder;

    use super::*;
    use crate::spans::Trace;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged in a call, and beside it.
    fn logged(
        build: impl FnOnce(SubscriberBuilder, Page) -> Box<dyn Subscriber + Send + Sync>,
    ) -> (String, Trace) {
        let page = Page::default();
        let trace = Trace::below(None);
        let subscriber = build(tracing_subscriber::fmt().with_ansi(false), page.clone());
        tracing::subscriber::with_default(subscriber, || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let call = async { tracing::warn!(number = 1, "in a call") };
            runtime.block_on(phases::timed(Instant::now(), trace.id, call));
            tracing::warn!("beside it");
        });
        (String::from_utf8(page.0.lock().unwrap().clone()).unwrap(), trace)
    }

    #[test]
    fn what_a_call_logs_has_its_trace_and_nothing_else_has_one() {
        let (text, trace) = logged(|log, page| {
            let log = log.with_writer(move || page.clone());
            Box::new(log.map_event_format(|lines| Traced { lines, add: at_the_end }).finish())
        });
        let [first, second] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(first.ends_with(&format!("in a call number=1 trace_id={}", trace.id)), "{text}");
        assert!(second.ends_with("beside it"), "{text}");

        let (text, trace) = logged(|log, page| {
            let log = log.with_writer(move || page.clone()).json().flatten_event(true);
            let add = as_the_first_field;
            Box::new(log.map_event_format(|lines| Traced { lines, add }).finish())
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["trace_id"], trace.id.to_string());
        assert_eq!((&lines[0]["message"], &lines[0]["number"]), (&"in a call".into(), &1.into()));
        assert_eq!((lines[1].get("trace_id"), lines.len()), (None, 2));
    }
}
