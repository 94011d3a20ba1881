//! A viewer without eyes: reads what a session streams to a browser.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A viewer's connection.
#[derive(Debug)]
pub struct Viewer {
    socket: WebSocket<TcpStream>,
    bodies: usize,
    counts: [usize; 3],
}

/// A message.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A text.
    Tell(Value),
    /// The description of a shape, once it is whole.
    Shape(Value),
    /// A moment.
    Moment(Moment),
    /// The end, and why.
    Closed(CloseCode, String),
}

/// The model at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Which model it is.
    pub edition: u32,
    /// Whether it runs in the background.
    pub runs: bool,
    /// Its time.
    pub time_secs: f64,
    /// Its steps.
    pub steps_total: u64,
    /// Three for every body.
    pub xpos: Vec<f32>,
    /// Four for every body.
    pub xquat: Vec<f32>,
    /// The positions of the joints.
    pub positions: Vec<f32>,
    /// The controls.
    pub controls: Vec<f32>,
    /// The forces of the actuators.
    pub forces: Vec<f32>,
}

impl Viewer {
    /// Connects by a link of `get_viewer_url`; or the HTTP status with which that is refused.
    pub fn connect(url: &str) -> Result<Self, u16> {
        let (address, rest) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let query = rest.split_once('?').unwrap_or((rest, "")).1;
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let to = format!("ws://{address}/viewer/stream?{query}");
        match tungstenite::client(&to, stream) {
            Ok((socket, _)) => Ok(Self { socket, bodies: 0, counts: [0; 3] }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Says something.
    pub fn ask(&mut self, ask: &Value) {
        self.socket.send(Message::Text(ask.to_string().into())).unwrap();
    }

    /// Has something done, and waits until it is; or why it is refused.
    pub fn order(&mut self, ask: &Value) -> Result<(), String> {
        self.ask(ask);
        loop {
            match self.see() {
                Seen::Tell(tell) if tell["ask"] == ask["ask"] => {
                    let why = tell["why"].as_str().map(str::to_owned);
                    return why.map_or(Ok(()), Err);
                }
                Seen::Closed(code, why) => panic!("closed: {code}: {why}"),
                Seen::Moment(_) => self.ask(&json!({ "ask": "more" })),
                _ => (),
            }
        }
    }

    /// The next message.
    pub fn see(&mut self) -> Seen {
        let mut whole = Vec::new();
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return Seen::Tell(serde_json::from_str(&text).unwrap()),
                Message::Binary(bytes) if word(&bytes, 0) == 1 => {
                    assert_eq!(word(&bytes, 3) as usize, whole.len(), "a piece is missing");
                    whole.extend_from_slice(&bytes[16..]);
                    if whole.len() == word(&bytes, 2) as usize {
                        return Seen::Shape(self.shape(&whole));
                    }
                }
                Message::Binary(bytes) => return Seen::Moment(self.moment_of(&bytes)),
                Message::Close(Some(frame)) => {
                    return Seen::Closed(frame.code, frame.reason.as_str().to_owned());
                }
                Message::Ping(_) | Message::Pong(_) => (),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next moment, after which it takes another one.
    pub fn moment(&mut self) -> Moment {
        loop {
            match self.see() {
                Seen::Moment(moment) => {
                    self.ask(&json!({ "ask": "more" }));
                    return moment;
                }
                Seen::Closed(code, why) => panic!("closed: {code}: {why}"),
                _ => (),
            }
        }
    }

    /// Waits for a moment that it likes.
    pub fn moment_when(&mut self, is_it: impl Fn(&Moment) -> bool) -> Moment {
        loop {
            let moment = self.moment();
            if is_it(&moment) {
                return moment;
            }
        }
    }

    /// The next shape.
    pub fn next_shape(&mut self) -> Value {
        loop {
            match self.see() {
                Seen::Shape(shape) => return shape,
                Seen::Closed(code, why) => panic!("closed: {code}: {why}"),
                _ => (),
            }
        }
    }

    /// Waits for the end.
    pub fn closed(&mut self) -> (CloseCode, String) {
        loop {
            if let Seen::Closed(code, why) = self.see() {
                return (code, why);
            }
        }
    }

    fn shape(&mut self, whole: &[u8]) -> Value {
        let length = word(whole, 0) as usize;
        let description: Value = serde_json::from_slice(&whole[4..4 + length]).unwrap();
        self.bodies = description["bodies"].as_array().unwrap().len();
        let count = |index: usize| usize::try_from(description["counts"][index].as_u64().unwrap());
        self.counts = [0, 1, 2].map(|index| count(index).unwrap());
        description
    }

    fn moment_of(&self, bytes: &[u8]) -> Moment {
        assert_eq!(word(bytes, 0), 2);
        let mut floats =
            bytes[32..].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
        let mut next = |count: usize| floats.by_ref().take(count).collect();
        let moment = Moment {
            edition: word(bytes, 1),
            runs: word(bytes, 2) & 1 != 0,
            time_secs: f64::from_le_bytes(bytes[16..24].try_into().unwrap()),
            steps_total: u64::from_le_bytes(bytes[24..32].try_into().unwrap()),
            xpos: next(3 * self.bodies),
            xquat: next(4 * self.bodies),
            positions: next(self.counts[0]),
            controls: next(self.counts[1]),
            forces: next(self.counts[2]),
        };
        assert!(floats.next().is_none(), "a moment is longer than its shape says");
        moment
    }
}

fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * index..4 * index + 4].try_into().unwrap())
}
