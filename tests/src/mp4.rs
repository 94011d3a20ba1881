//! Reading the videos that we make: no more of MP4 than they have.

/// The frames of an MP4 with H.264, each as a stream that a decoder takes; the first begins with
/// what the decoder must know.
///
/// # Panics
///
/// Panics if it is not such a file.
pub fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let config = find(file, *b"avcC").expect("there is a configuration of H.264");
    let mut head = Vec::new();
    let mut rest = &config[6..];
    // One set of parameters of each kind.
    for _ in 0..2 {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        head.extend([&[0, 0, 0, 1], &rest[2..2 + length]].concat());
        rest = rest.get(3 + length..).unwrap_or_default();
    }
    let sizes = find(file, *b"stsz").expect("there are sizes of frames");
    let count = number(&sizes[8..]);
    let mut samples = find(file, *b"mdat").expect("there are frames");
    let mut frames = Vec::new();
    for index in 0..count {
        let size = number(&sizes[12 + 4 * index..]);
        let (sample, others) = samples.split_at(size);
        samples = others;
        let mut frame = std::mem::take(&mut head);
        frame.extend(units(sample));
        frames.push(frame);
    }
    frames
}

/// A frame's units, with marks between them instead of lengths before them.
fn units(mut sample: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while !sample.is_empty() {
        let end = 4 + number(sample);
        stream.extend([&[0, 0, 0, 1], &sample[4..end]].concat());
        sample = &sample[end..];
    }
    stream
}

/// What is in the first box of that name.
fn find(file: &[u8], name: [u8; 4]) -> Option<&[u8]> {
    let at = file.windows(4).position(|word| *word == name)?;
    let length = number(&file[at - 4..]);
    file.get(at + 4..at - 4 + length)
}

fn number(bytes: &[u8]) -> usize {
    let word = bytes.first_chunk().expect("the file goes on");
    usize::try_from(u32::from_be_bytes(*word)).expect("32 bits fit")
}
