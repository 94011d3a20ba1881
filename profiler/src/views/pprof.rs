//! The form of pprof, uncompressed: its protocol buffer has few fields, and they are written here.

use std::collections::HashMap;

use super::thread_name;
use crate::profile::{Profile, Unit};

/// The profile as pprof's `profile.proto` has it: samples and nanoseconds of processor time, or bytes of
/// memory.
pub fn pprof(profile: &Profile) -> Vec<u8> {
    let mut strings = Strings::default();
    let (kinds, period): (&[_], _) = match profile.unit {
        Unit::Samples => (
            &[("samples", "count"), ("cpu", "nanoseconds")],
            1_000_000_000 / profile.frequency_hz.max(1),
        ),
        Unit::Bytes => (&[("inuse_space", "bytes")], 1),
    };
    let mut out = Message::default();
    for (kind, unit) in kinds {
        out.message(1, &value_type(&mut strings, kind, unit));
    }
    let thread = strings.number("thread");
    for stack in &profile.stacks {
        let mut sample = Message::default();
        // The innermost first; ids begin at 1.
        let frames: Vec<u64> = stack.frames.iter().rev().map(|it| u64::from(*it) + 1).collect();
        sample.packed(1, &frames);
        let values = [stack.samples, stack.samples.saturating_mul(period)];
        sample.packed(2, &values[..kinds.len()]);
        let mut label = Message::default();
        label.number(1, thread);
        label.number(2, strings.number(thread_name(profile, stack)));
        sample.message(3, &label);
        out.message(2, &sample);
    }
    for (id, function) in (1_u64..).zip(&profile.functions) {
        let mut line = Message::default();
        line.number(1, id);
        let mut location = Message::default();
        location.number(1, id);
        location.message(4, &line);
        out.message(4, &location);
        let (name, file) = (strings.number(&function.name), strings.number(&function.module));
        let mut told = Message::default();
        told.number(1, id);
        told.number(2, name);
        told.number(3, name);
        told.number(4, file);
        out.message(5, &told);
    }
    let (kind, unit) = kinds.last().copied().unwrap_or_default();
    let kind = value_type(&mut strings, kind, unit);
    for string in &strings.list {
        out.bytes(6, string.as_bytes());
    }
    out.number(10, nanos(profile.duration_secs));
    out.message(11, &kind);
    out.number(12, period);
    out.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a profile takes minutes; a cast of what is no duration gives 0"
)]
fn nanos(secs: f64) -> u64 {
    (secs * 1e9) as u64
}

fn value_type(strings: &mut Strings, kind: &str, unit: &str) -> Message {
    let mut value = Message::default();
    value.number(1, strings.number(kind));
    value.number(2, strings.number(unit));
    value
}

/// The table of strings; the first one is empty.
struct Strings {
    known: HashMap<String, u64>,
    list: Vec<String>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { known: HashMap::from([(String::new(), 0)]), list: vec![String::new()] }
    }
}

impl Strings {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.list.len() as u64;
        self.list.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }
}

/// A message of a protocol buffer.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn packed(&mut self, field: u64, values: &[u64]) {
        let mut packed = Self::default();
        for value in values {
            packed.varint(*value);
        }
        self.message(field, &packed);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::example;

    /// Fields of a message: number, and a value or bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let (first, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                value |= u64::from(first & 0x7f) << shift;
                shift += 7;
                if first & 0x80 == 0 {
                    return value;
                }
            }
        }
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = varint(&mut bytes);
            let body = if key & 7 == 2 {
                let (body, rest) = bytes.split_at(usize::try_from(value).unwrap());
                bytes = rest;
                body.to_vec()
            } else {
                Vec::new()
            };
            all.push((key >> 3, value, body));
        }
        all
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let all = fields(&pprof(&example()));
        let of = |field| all.iter().filter(move |it| it.0 == field);
        let strings: Vec<String> =
            of(6).map(|it| String::from_utf8(it.2.clone()).unwrap()).collect();
        assert_eq!(strings[0], "");
        assert!(strings.contains(&"solve; quickly".to_owned()));
        assert_eq!((of(2).count(), of(4).count(), of(5).count()), (4, 4, 4));
        let heaviest = fields(&of(2).nth(2).unwrap().2);
        assert_eq!(heaviest[0].2, [3, 2, 2, 1], "the innermost first");
        let values = &heaviest[1].2;
        assert_eq!(values[0], 60);
        assert_eq!(of(10).next().unwrap().1, 2_000_000_000);
    }
}
