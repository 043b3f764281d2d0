//! An event in protocol buffers' bytes, as TensorBoard's `event.proto` and `summary.proto` number their fields.

/// Kinds of field, in the low bits of its key.
const VARINT: u64 = 0;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The keys of an event's time, eight bytes, and of its step.
const TIME: u8 = 1 << 3 | 1;
const STEP: u8 = 2 << 3;

/// The first event of a file.
pub(super) fn version(wall_seconds: f64) -> Vec<u8> {
    let mut event = event(wall_seconds, 0);
    bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// Says that steps from this one on come now, whatever was said of them before.
pub(super) fn session_start(wall_seconds: f64, step: u64) -> Vec<u8> {
    let (mut event, mut log) = (event(wall_seconds, step), Vec::new());
    key(&mut log, 1, VARINT);
    varint(&mut log, 1);
    bytes(&mut event, 7, &log);
    event
}

/// Numbers of a step by tag; TensorBoard keeps them in f32.
pub(super) fn scalars(wall_seconds: f64, step: u64, scalars: &[(String, f64)]) -> Vec<u8> {
    let (mut event, mut summary) = (event(wall_seconds, step), Vec::new());
    for (tag, number) in scalars {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, FIXED32);
        value.extend((*number as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    bytes(&mut event, 5, &summary);
    event
}

/// The step of an event that one of these functions made; none of other bytes.
pub(super) fn step(event: &[u8]) -> Option<u64> {
    // The time stands first: a key and eight bytes.
    let (time, rest) = event.split_at_checked(9)?;
    if time[0] != TIME {
        return None;
    }
    let mut rest = rest.iter();
    if rest.next() != Some(&STEP) {
        return Some(0);
    }
    let mut step = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.next()?;
        step |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(step);
        }
    }
    None
}

fn event(wall_seconds: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    event.push(TIME);
    event.extend(wall_seconds.to_le_bytes());
    // A zero is not written.
    if step > 0 {
        event.push(STEP);
        varint(&mut event, step);
    }
    event
}

fn key(message: &mut Vec<u8>, field: u64, kind: u64) {
    varint(message, field << 3 | kind);
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn bytes(message: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(message, field, BYTES);
    varint(message, content.len() as u64);
    message.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_protocol_buffers() {
        // As TensorBoard's own classes write them: trainer/tests/golden/events.py.
        let golden: Vec<String> =
            include_str!("../../../tests/golden/events.txt").lines().map(|line| line.trim().to_owned()).collect();
        let hexadecimal = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let tags = [("loss".to_owned(), 2.5), ("loss/caption".to_owned(), f64::NAN), ("rate".to_owned(), 1e-5)];
        let found = [version(1.5e9), session_start(1.5e9 + 0.25, 301), scalars(1.5e9 + 1.0, 1 << 40, &tags)];
        assert_eq!(found.map(hexadecimal).to_vec(), golden);
    }

    #[test]
    fn a_step_is_read_back() {
        for expected in [0, 1, 127, 128, 1 << 40, u64::MAX] {
            assert_eq!(step(&scalars(1.0, expected, &[])), Some(expected));
        }
        assert_eq!(step(b""), None);
        assert_eq!(step(&[0xff; 40]), None);
    }
}
