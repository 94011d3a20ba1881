//! The operator's end of the socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName as _};
use serde::de::DeserializeOwned;

use super::{Answer, Ask};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Asks the daemon behind a socket.
pub fn ask<T: DeserializeOwned>(socket: &Path, ask: &Ask) -> anyhow::Result<T> {
    let name = socket.to_fs_name::<GenericFilePath>()?;
    let stream = Stream::connect(name).with_context(|| {
        format!("no daemon answers at {}: is `simward serve` running?", socket.display())
    })?;
    stream.set_recv_timeout(Some(PATIENCE))?;
    let mut request = serde_json::to_vec(ask)?;
    request.push(b'\n');
    (&stream).write_all(&request)?;
    let mut line = String::new();
    BufReader::new((&stream).take(ANSWER_BYTES_MAX))
        .read_line(&mut line)
        .context("the daemon did not answer")?;
    match serde_json::from_str(&line).context("the daemon's answer could not be read")? {
        Answer::Ok(value) => Ok(serde_json::from_value(value)?),
        Answer::Refused { code, message } => anyhow::bail!("{message} ({code})"),
    }
}
