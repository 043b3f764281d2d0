//! The position of a feed in its order: the whole resume state of the data.

use serde::{Deserialize, Serialize};

use crate::FeedError;
use crate::order::mix::BLOCK;
use crate::order::steps::Tail;
use crate::order::{Order, REVISION};

/// Version of the text.
const FORMAT: u32 = 2;
/// Bytes of the text at most.
const MOST: usize = 512;

/// Which sample comes next, and of what. Batch size, ranks, readers and depth are not in it, so a run may go on with others.
///
/// As text it is JSON of at most 512 bytes: `format`, `revision` of the order, `selection` as hex, `order` with its seed, `tail`
/// and `position`. Of a mix it has the changes of weights that came before the position; a run may go on with others behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "serde_json::Value")]
pub struct FeedCursor {
    /// Hash of the samples that the position counts in.
    pub selection: [u8; 32],
    /// Their order.
    pub order: Order,
    /// What becomes of an epoch's last samples.
    pub tail: Tail,
    /// Samples since the run began.
    pub position: u64,
}

impl FeedCursor {
    /// The beginning.
    pub fn start(selection: [u8; 32], order: Order, tail: Tail) -> FeedCursor {
        FeedCursor { selection, order, tail, position: 0 }
    }

    /// # Errors
    /// A text that is longer than 512 bytes or no cursor; one of another format or of another revision of the order.
    pub fn from_json(text: &[u8]) -> Result<FeedCursor, FeedError> {
        let expected = || format!("at most {MOST} bytes");
        FeedError::check("the cursor", text.len() <= MOST, expected, || format!("{} bytes", text.len()))?;
        serde_json::from_slice(text).map_err(|problem| FeedError::Plan {
            what: "the cursor".into(),
            expected: "JSON of a feed's cursor".into(),
            found: problem.to_string(),
        })
    }

    /// The cursor as JSON of at most 512 bytes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a cursor is plain data")
    }

    /// Whether the position counts in what `now` says is fed.
    ///
    /// # Errors
    /// Another selection, seed, order or tail, or other weights of a mix before the position: both are named.
    pub fn check(&self, now: &FeedCursor) -> Result<(), FeedError> {
        let equal = |what, is_same: bool, here: String, there: String| {
            FeedError::check(what, is_same, || format!("{here}, as is fed now"), || format!("{there} in the cursor"))
        };
        equal("the selection", self.selection == now.selection, hex(&now.selection), hex(&self.selection))?;
        let seed = |cursor: &FeedCursor| cursor.order.seed().map_or("none".into(), |seed| seed.to_string());
        let (begun_now, begun) = (now.order.begun(self.position), self.order.begun(self.position));
        let (ours, theirs) = (in_words(&begun_now), in_words(&begun));
        if let (Order::Mix { .. }, Order::Mix { .. }) = (&begun_now, &begun) {
            let (position, next) = (self.position, self.position.div_ceil(BLOCK).max(1).saturating_mul(BLOCK));
            let expected =
                || format!("{theirs}, by which the first {position} samples came; others may follow from {next} on");
            FeedError::check("the mix", ours == theirs, expected, || ours.clone())?;
        }
        equal("the order", ours == theirs, ours, theirs)?;
        equal("the seed", self.order.seed() == now.order.seed(), seed(now), seed(self))?;
        equal("the tail", self.tail == now.tail, in_words(&now.tail), in_words(&self.tail))
    }
}

fn in_words(part: &impl Serialize) -> String {
    let mut part = serde_json::to_value(part).expect("plain data");
    if let Some(order) = part.as_object_mut().and_then(|order| order.values_mut().next()?.as_object_mut()) {
        // It is compared, and told, for itself.
        order.remove("seed");
    }
    part.to_string()
}

/// The text's keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    revision: u32,
    selection: String,
    order: Order,
    tail: Tail,
    position: u64,
}

impl From<FeedCursor> for Stored {
    fn from(cursor: FeedCursor) -> Stored {
        let FeedCursor { selection, order, tail, position } = cursor;
        let order = order.begun(position);
        Stored { format: FORMAT, revision: REVISION, selection: hex(&selection), order, tail, position }
    }
}

impl TryFrom<serde_json::Value> for FeedCursor {
    type Error = String;

    fn try_from(text: serde_json::Value) -> Result<FeedCursor, String> {
        let number = |key: &str| text.get(key).and_then(serde_json::Value::as_u64);
        let is_ours = |key: &str, ours: u32| match number(key) {
            Some(found) if found == u64::from(ours) => Ok(()),
            Some(found) => Err(format!("expected a cursor of {key} {ours}, found one of {key} {found}")),
            None => Err(format!("expected a cursor of {key} {ours}, found one that states no {key}")),
        };
        if let (Some(epoch), Some(batch)) = (number("epoch"), number("batch")) {
            return Err(format!(
                "expected a cursor of format {FORMAT}, found batch {batch} of epoch {epoch}, of a version that had samples in another \
                 order: a run of it can't go on, but another one can start from its weights"
            ));
        }
        is_ours("format", FORMAT)?;
        is_ours("revision", REVISION)?;
        let stored: Stored = serde_json::from_value(text).map_err(|problem| problem.to_string())?;
        let bytes = selection_of(&stored.selection);
        let selection = bytes.ok_or_else(|| format!("expected 64 hex digits, found {}", stored.selection))?;
        Ok(FeedCursor { selection, order: stored.order, tail: stored.tail, position: stored.position })
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn selection_of(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}
