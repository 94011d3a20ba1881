//! Checkpoints, which a worker that was killed at any moment has left.

use simward_protocol::checkpoint::{
    Counts, Error, Kept, MAGIC, MODIFIED_MAX, Run, newest, next_sequence, slot_words, write,
};

use super::Taker;

/// The first byte says whether the rest are the words of a file, or a state to be written.
pub fn checkpoint(bytes: &[u8]) {
    let mut taker = Taker(bytes);
    if taker.byte().is_multiple_of(2) { hostile(taker) } else { written(taker) }
}

/// Words before the values: six of the header, nine counters, and four and nine of a run.
const FIXED_WORDS: usize = 28;

/// Values are few here, so that slots have one page. Any number is asked for.
const VALUES_MAX: usize = 64;

/// Words as they come, their checksums put right on demand: nobody guesses one.
fn hostile(mut taker: Taker<'_>) {
    let flags = taker.byte();
    let asked = usize::try_from(taker.word()).unwrap();
    let unanswered = (flags & 1 != 0).then(|| taker.word());
    let values = asked % VALUES_MAX;
    let mut words = vec![0; 2 * slot_words(values)];
    for (index, slot) in words.chunks_exact_mut(slot_words(values)).enumerate() {
        let modified = usize::from(taker.byte()) % 4;
        let used = FIXED_WORDS + values + 2 * modified;
        slot[..used].fill_with(|| taker.word());
        let put_right = |flag: u8| flags & (flag << index) != 0;
        if put_right(2) {
            slot[0] = MAGIC;
        }
        if put_right(8) {
            slot[3] = values as u64;
            slot[5] = modified as u64;
        }
        if put_right(32) {
            slot[4] = checksum(&slot[..used]);
        }
    }
    newest(&words, asked, unanswered).ok();
    next_sequence(&words, asked);
    let found = newest(&words, values, unanswered);
    let next = next_sequence(&words, values);
    let Ok(slot) = found else { return };
    let begin = slot.index * slot_words(values);
    let modified = slot.kept.modified.len();
    assert!(modified <= MODIFIED_MAX);
    let whole = &words[begin..begin + FIXED_WORDS + values + 2 * modified];
    let header = [whole[0], whole[1], whole[3], whole[4]];
    assert_eq!(header, [MAGIC, slot.sequence, values as u64, checksum(whole)]);
    assert!(whole[2] == 0 || Some(whole[2]) != unanswered, "what nobody was told was kept");
    assert_eq!(slot.values, &whole[FIXED_WORDS..FIXED_WORDS + values]);
    assert!(next == 0 || slot.sequence < next);
}

/// What is written reads back; and damage to one of its words is noticed, so that the state from
/// before is found.
fn written(mut taker: Taker<'_>) {
    let values = usize::from(taker.byte()) % VALUES_MAX;
    let mut words = vec![0; 2 * slot_words(values)];
    let sequence = taker.word() >> 1;
    let call = taker.word();
    let place = usize::from(taker.byte() % 2);
    let (place_hit, mask) = (usize::from(taker.byte()), taker.word());
    let states = [(place, sequence), (1 - place, sequence + 1)].map(|(place, sequence)| {
        let modified = modified(&mut taker);
        let kept = kept(&mut taker);
        let state: Vec<u64> = (0..values).map(|_| taker.word()).collect();
        let slot = words.chunks_exact_mut(slot_words(values)).nth(place).unwrap();
        let whole = Kept { modified: &modified, ..kept };
        write(slot, (sequence, call), values, &whole, |to| to.copy_from_slice(&state));
        (place, sequence, kept, state, modified)
    });
    let expect = |words: &[u64], (place, sequence, kept, state, modified): &Written| {
        let slot = newest(words, values, None).unwrap();
        assert_eq!((slot.index, slot.sequence, slot.values), (*place, *sequence, &state[..]));
        // NaN is not itself.
        let kept = Kept { modified, ..*kept };
        assert_eq!(format!("{:?}", slot.kept), format!("{kept:?}"));
    };
    let [before, last] = &states;
    expect(&words, last);
    assert_eq!(next_sequence(&words, values), last.1 + 1);
    if call != 0 {
        assert_eq!(newest(&words, values, Some(call)), Err(Error::Damaged));
    }
    // No change within 32 bits in a row escapes a CRC-32.
    let mask = (mask >> 32) << (mask % 33);
    if mask != 0 {
        let hit = place_hit % (FIXED_WORDS + values);
        words[last.0 * slot_words(values) + hit] ^= mask;
        expect(&words, before);
    }
}

/// What was written into one slot: its place, its sequence number, and what it holds.
type Written = (usize, u64, Kept<'static>, Vec<u64>, Vec<[u64; 2]>);

fn modified(taker: &mut Taker<'_>) -> Vec<[u64; 2]> {
    (0..taker.byte() % 4).map(|_| [taker.word(), taker.word()]).collect()
}

fn kept(taker: &mut Taker<'_>) -> Kept<'static> {
    let has_run = taker.byte() % 2 == 1;
    let counts = counts(taker);
    let run = has_run.then(|| {
        let factor = f64::from_bits(taker.word());
        Run {
            until_secs: f64::from_bits(taker.word()),
            // Zero stands for none.
            real_time_factor: (factor != 0.0).then_some(factor),
            steps_done: taker.word(),
            before: self::counts(taker),
        }
    });
    Kept { counts, run, ..Kept::default() }
}

fn counts(taker: &mut Taker<'_>) -> Counts {
    let (steps_total, auto_resets) = (taker.word(), taker.word());
    Counts { steps_total, auto_resets, warnings: std::array::from_fn(|_| taker.word()) }
}

/// As the table in `checkpoint` says.
fn checksum(used: &[u64]) -> u64 {
    let mut sum = crc32fast::Hasher::new();
    for word in used[1..4].iter().chain(&used[5..]) {
        sum.update(&word.to_ne_bytes());
    }
    sum.finalize().into()
}
