//! A viewer's connection: a WebSocket, on a thread of its own.
//!
//! The thread takes the newest frame when the viewer has room for one, so that who is slow sees
//! fewer frames and never old ones, and what is not read is not piled up here.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::Page;
use super::http::Request;
use super::message::{Ask, SHAPE, Tell};
use super::stage::{Deed, Frame, PERIOD, Right, Seat, Shape, Sight, remind};
use crate::world::pull::Pull;

/// Where viewers connect.
pub(super) const PATH: &str = "/viewer/stream";

/// The longest message of a viewer.
const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// The most messages that are heard in the time of a frame.
const MESSAGES_MAX: usize = 64;

/// How many frames a viewer gets that has not asked for more, and the most that it may have asked
/// for and not got.
const CREDIT_FIRST: u32 = 2;
const CREDIT_MAX: u32 = 4;

/// A shape is sent in pieces of so many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// How long a viewer may take nothing of what it is sent.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// After so much silence a viewer is asked whether it is there, and after twice that it is not.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Why a viewer is turned out.
const NO_MODEL: CloseCode = CloseCode::Library(4404);
const NO_RIGHT: CloseCode = CloseCode::Library(4401);

/// A viewer at the door.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// What proves to it that it talks to a WebSocket.
    accept: String,
    token: String,
    model_id: Option<String>,
}

/// Whether a request is one for a WebSocket.
pub(super) fn greet(request: &Request, query: &str, token: &str) -> Result<Visit, &'static str> {
    let asks = request.upgrade.as_ref().is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    if !asks || request.websocket_version.as_deref() != Some("13") {
        return Err("426 Upgrade Required");
    }
    let key = request.websocket_key.as_deref().filter(|key| key.len() == 24);
    let key = key.ok_or("400 Bad Request")?;
    let accept = derive_accept_key(key.as_bytes());
    let model_id = query.split('&').find_map(|pair| pair.strip_prefix("model="));
    Ok(Visit { accept, token: token.to_owned(), model_id: model_id.map(str::to_owned) })
}

/// Serves a viewer until it leaves or is turned out.
pub(super) fn serve(client: TcpStream, visit: &Visit, page: &Page) {
    // However it ends, there is nobody left to tell.
    stay(client, visit, page).ok();
}

fn stay(mut client: TcpStream, visit: &Visit, page: &Page) -> Result<(), Error> {
    let accept = &visit.accept;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.set_write_timeout(Some(SEND_PATIENCE))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(MESSAGE_BYTES_MAX)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Line(client), Role::Server, Some(config));
    let snapshot = page.shared.board.ask(&page.shared.pulse, &page.jobs);
    let glances = snapshot.as_ref().and_then(|snapshot| snapshot.get(&page.slot));
    let models = glances.into_iter().flatten().map(|glance| glance.model_id.clone());
    let models: Vec<_> = models.collect();
    let wanted = visit.model_id.as_ref().or_else(|| models.first());
    let Some(model_id) = wanted.filter(|wanted| models.contains(wanted)) else {
        return close(&mut socket, NO_MODEL, "the session has no such model");
    };
    let Some(seat) = page.shared.stage.enter((page.slot, model_id.clone())) else {
        return close(&mut socket, CloseCode::Again, "too many viewers already");
    };
    let (taker, shape) = sync_channel(1);
    seat.want_shape(taker);
    let now = Instant::now();
    let mut viewer = Viewer {
        page,
        token: &visit.token,
        seat,
        socket,
        credit: CREDIT_FIRST,
        seen: 0,
        last: Bytes::new(),
        edition: None,
        shape: Some(shape),
        order: None,
        heard_at: now,
        is_asked: false,
    };
    let may_steer = viewer.right() == Some(Right::Steer);
    let session_id = &page.session_id;
    viewer.tell(&Tell::Hello { session_id, models: &models, model_id, may_steer })?;
    viewer.watch()
}

/// A connection that is written to with patience, and read from without.
struct Line(TcpStream);

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(&self.0, bytes, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct Viewer<'a> {
    page: &'a Page,
    token: &'a str,
    seat: Seat<'a>,
    socket: WebSocket<Line>,
    /// How many frames it may still be sent.
    credit: u32,
    /// The newest frame that it was sent, or that told it nothing new.
    seen: u64,
    last: Bytes,
    /// The model whose shape it has.
    edition: Option<u32>,
    /// Where the shape that it waits for arrives.
    shape: Option<Receiver<Shape>>,
    /// What it has ordered, and where the answer arrives.
    order: Option<(&'static str, Receiver<Result<(), String>>)>,
    heard_at: Instant,
    /// Whether it was asked if it is there.
    is_asked: bool,
}

impl Viewer<'_> {
    fn watch(&mut self) -> Result<(), Error> {
        let (mut next, mut heard) = (Instant::now(), 0);
        loop {
            self.rest(next, heard < MESSAGES_MAX)?;
            heard += self.hear(MESSAGES_MAX - heard)?;
            if self.right().is_none() {
                return close(&mut self.socket, NO_RIGHT, "this link was closed");
            }
            self.answer()?;
            let now = Instant::now();
            if now < next {
                continue;
            }
            (next, heard) = (now + PERIOD, 0);
            if self.is_gone(now)? {
                return Ok(());
            }
            if let Some((code, why)) = self.show()? {
                return close(&mut self.socket, code, &why);
            }
        }
    }

    fn right(&self) -> Option<Right> {
        self.page.shared.stage.right(self.page.slot, self.token)
    }

    /// Waits for the next frame's time, or until the viewer says something.
    fn rest(&self, until: Instant, listens: bool) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        let mut descriptors = [PollFd::new(&self.socket.get_ref().0, PollFlags::IN)];
        let listening = usize::from(listens);
        match poll(&mut descriptors[..listening], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hears what the viewer has said; tells how many messages that were.
    fn hear(&mut self, max: usize) -> Result<usize, Error> {
        for heard in 0..max {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(heard);
                }
                Err(error) => return Err(error),
            };
            (self.heard_at, self.is_asked) = (Instant::now(), false);
            if let Message::Text(text) = message {
                match serde_json::from_str(&text) {
                    Ok(ask) => self.hear_one(&ask)?,
                    Err(_) => self.tell(&Tell::Refused { ask: "?", why: "not understood" })?,
                }
            }
        }
        Ok(max)
    }

    fn hear_one(&mut self, ask: &Ask) -> Result<(), Error> {
        let deed = match *ask {
            Ask::More => {
                self.credit = (self.credit + 1).min(CREDIT_MAX);
                return Ok(());
            }
            Ask::Run => Some(Deed::Run),
            Ask::Pause => Some(Deed::Pause),
            Ask::Step { steps } => Some(Deed::Step(steps)),
            Ask::Reset => Some(Deed::Reset),
            Ask::Pull { .. } | Ask::LetGo => None,
        };
        let name = ask.name();
        if self.right() != Some(Right::Steer) {
            let why = "this link is for looking only";
            return self.tell(&Tell::Refused { ask: name, why });
        }
        let (pulse, jobs) = (&self.page.shared.pulse, &self.page.jobs);
        let Some(deed) = deed else {
            let pull = match *ask {
                Ask::Pull { body, at, to } => Pull::new(body, at, to),
                _ => Some(Pull::none()),
            };
            let Some(pull) = pull else {
                return self.tell(&Tell::Refused { ask: name, why: "a number makes no sense" });
            };
            self.seat.pull(pull, pulse, jobs);
            return Ok(());
        };
        if self.order.is_some() {
            let why = "what was asked before is not done yet";
            return self.tell(&Tell::Refused { ask: name, why });
        }
        let (taker, answer) = sync_channel(1);
        self.seat.order(deed, taker, pulse, jobs);
        self.order = Some((name, answer));
        Ok(())
    }

    /// Tells the viewer what became of its order, once that is known.
    fn answer(&mut self) -> Result<(), Error> {
        let Some((ask, answer)) = &self.order else { return Ok(()) };
        let outcome = match answer.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err("the session has ended".to_owned()),
        };
        let ask = *ask;
        self.order = None;
        match outcome {
            Ok(()) => self.tell(&Tell::Done { ask }),
            Err(why) => self.tell(&Tell::Refused { ask, why: &why }),
        }
    }

    /// Sends what is new, if the viewer has room for it. Tells why it is to be turned out.
    fn show(&mut self) -> Result<Option<(CloseCode, String)>, Error> {
        if let Some(shape) = &self.shape {
            match shape.try_recv() {
                Ok(shape) => return self.send_shape(&shape),
                Err(TryRecvError::Empty) => {
                    remind(&self.page.shared.pulse, &self.page.jobs);
                }
                // Its model is gone, and so is who would have answered.
                Err(TryRecvError::Disconnected) => self.shape = None,
            }
        }
        if self.credit == 0 {
            return Ok(None);
        }
        match self.seat.look(self.seen, &self.page.shared.pulse, &self.page.jobs) {
            Sight::Frame(frame) => self.send_frame(frame).map(|()| None),
            Sight::Nothing => Ok(None),
            Sight::Gone => Ok(Some((NO_MODEL, "the model is not there any more".to_owned()))),
        }
    }

    fn send_frame(&mut self, frame: Frame) -> Result<(), Error> {
        if self.edition != Some(frame.edition) {
            // Another model was loaded by the same name, or the first shape is on its way.
            if self.shape.is_none() {
                let (taker, shape) = sync_channel(1);
                self.seat.want_shape(taker);
                self.shape = Some(shape);
            }
            return Ok(());
        }
        self.seen = frame.number;
        if frame.bytes != self.last {
            self.last.clone_from(&frame.bytes);
            self.credit -= 1;
            self.socket.send(Message::Binary(frame.bytes))?;
        }
        Ok(())
    }

    fn send_shape(&mut self, shape: &Shape) -> Result<Option<(CloseCode, String)>, Error> {
        self.shape = None;
        let (edition, bytes) = match &**shape {
            Ok(shape) => shape,
            Err(why) => return Ok(Some((CloseCode::Size, why.clone()))),
        };
        let whole = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        for (index, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            let begin = u32::try_from(index * PIECE_BYTES).unwrap_or(u32::MAX);
            let mut message = Vec::with_capacity(16 + piece.len());
            for word in [SHAPE, *edition, whole, begin] {
                message.extend_from_slice(&word.to_le_bytes());
            }
            message.extend_from_slice(piece);
            self.socket.send(Message::Binary(message.into()))?;
        }
        self.edition = Some(*edition);
        Ok(None)
    }

    /// Whether nothing was heard of it for long, also not when it was asked.
    fn is_gone(&mut self, now: Instant) -> Result<bool, Error> {
        let silence = now.saturating_duration_since(self.heard_at);
        if SILENCE_MAX < silence && !self.is_asked {
            self.is_asked = true;
            self.socket.send(Message::Ping(Bytes::new()))?;
        }
        Ok(2 * SILENCE_MAX < silence)
    }

    fn tell(&mut self, tell: &Tell<'_>) -> Result<(), Error> {
        let text = serde_json::to_string(tell).map_err(io::Error::other)?;
        self.socket.send(Message::Text(text.into()))
    }
}

/// The longest reason that fits into a closing frame, in bytes.
const REASON_BYTES_MAX: usize = 120;

fn close(socket: &mut WebSocket<Line>, code: CloseCode, why: &str) -> Result<(), Error> {
    let end = why.floor_char_boundary(REASON_BYTES_MAX);
    let reason = why.get(..end).unwrap_or_default();
    socket.close(Some(CloseFrame { code, reason: reason.into() }))?;
    socket.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_a_websocket_is_let_in() {
        let whole = Request {
            upgrade: Some("WebSocket".into()),
            websocket_key: Some("dGhlIHNhbXBsZSBub25jZQ==".into()),
            websocket_version: Some("13".into()),
            ..Request::default()
        };
        let visit = greet(&whole, "token=t&model=arm", "t").unwrap();
        // The example of RFC 6455.
        assert_eq!(visit.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(visit.model_id.as_deref(), Some("arm"));
        let old = Request { websocket_version: Some("8".into()), ..whole.clone() };
        assert_eq!(greet(&old, "", "t"), Err("426 Upgrade Required"));
        let short = Request { websocket_key: Some("x".into()), ..whole };
        assert_eq!(greet(&short, "", "t"), Err("400 Bad Request"));
        assert_eq!(greet(&Request::default(), "", "t"), Err("426 Upgrade Required"));
    }
}
