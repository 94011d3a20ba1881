//! Mutations of inputs, the same ones every time.

/// Steele, Lea and Flood's generator.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next word.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`; zero if there is nothing below.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.word()).unwrap() % bound.max(1)
    }
}

/// The longest input that a mutation makes.
const BYTES_MAX: usize = 8 << 10;

/// Changes `bytes` in one to four places. `other` is another input, to take pieces from.
pub fn mutate(random: &mut Random, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        change(random, &mut bytes, other);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len());
    let end = at + random.below((bytes.len() - at).min(64));
    match random.below(9) {
        0 => flip(random, bytes, at),
        1 => overwrite(bytes, at, &[random.word().to_le_bytes()[0]]),
        2 => overwrite(bytes, at, &interesting(random)),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        6 => drop(bytes.splice(at..end, piece(random, other))),
        7 => bytes.insert(at, SIGNS[random.below(SIGNS.len())]),
        _ => {
            let word = random.word().to_le_bytes();
            bytes.splice(at..at, word[..random.below(9)].iter().copied());
        }
    }
}

fn flip(random: &mut Random, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn overwrite(bytes: &mut [u8], at: usize, by: &[u8]) {
    for (byte, by) in bytes[at..].iter_mut().zip(by) {
        *byte = *by;
    }
}

/// A number at the edge of something.
fn interesting(random: &mut Random) -> [u8; 8] {
    let edge = 1_u64.checked_shl(u32::try_from(random.below(65)).unwrap()).unwrap_or(0);
    edge.wrapping_sub(random.word() % 3).wrapping_add(1).to_le_bytes()
}

fn piece(random: &mut Random, other: &[u8]) -> Vec<u8> {
    let begin = random.below(other.len());
    let end = begin + random.below((other.len() - begin).min(64));
    other[begin..end].to_vec()
}

/// Characters that mean something to somebody.
const SIGNS: &[u8] = b"<>/\\'\"=&;#!-[]{}(),.:\n\r\t \0\x0b\x7f\xff";
