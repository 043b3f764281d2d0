//! Draft: a conversation laid out as text and images, and its encoding, which knows what is learned from the layout.

use std::ops::Range;

use super::template::{IMAGE3D, IMAGE3D_TOKEN};
use super::tokenizer::Tokenizer;
use crate::error::InputError;

/// A conversation in token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedText {
    /// Token ids, [`IMAGE3D`] for each image.
    pub ids: Vec<i32>,
    /// Start and stop indices into `ids` of what is learned, in order and apart; empty when asking.
    pub target_spans: Vec<(u32, u32)>,
    /// Images among `ids`.
    pub images: usize,
    /// Whether something was cut to fit the budget.
    pub truncated: bool,
    /// Ids that were cut.
    pub ids_cut: usize,
}

/// A conversation laid out but not yet tokenized.
#[derive(Default)]
pub(super) struct Draft {
    pieces: Vec<Piece>,
}

enum Piece {
    Image,
    /// Text between images, and the byte ranges of it that are learned.
    Text {
        text: String,
        targets: Vec<Range<usize>>,
    },
}

impl Draft {
    fn open(&mut self) -> (&mut String, &mut Vec<Range<usize>>) {
        if !matches!(self.pieces.last(), Some(Piece::Text { .. })) {
            self.pieces.push(Piece::Text { text: String::new(), targets: Vec::new() });
        }
        match self.pieces.last_mut() {
            Some(Piece::Text { text, targets }) => (text, targets),
            _ => unreachable!("a text piece was just made sure of"),
        }
    }

    /// An empty text before an image that comes first: where the tokenizer has a start token, it goes here.
    pub(super) fn start(&mut self) {
        self.open();
    }

    /// Images in a row.
    pub(super) fn images(&mut self, count: usize) {
        self.pieces.extend((0..count).map(|_| Piece::Image));
    }

    /// Text that is not learned.
    pub(super) fn text(&mut self, part: &str) {
        self.open().0.push_str(part);
    }

    /// Text that is learned, as one span.
    pub(super) fn target(&mut self, parts: &[&str]) {
        let (text, targets) = self.open();
        let start = text.len();
        text.extend(parts.iter().copied());
        targets.push(start..text.len());
    }

    /// Text that is not learned, with images where their marks stand.
    pub(super) fn question(&mut self, question: &str) {
        for (n, part) in question.split(IMAGE3D_TOKEN).enumerate() {
            if n > 0 {
                self.images(1);
            }
            if !part.is_empty() {
                self.text(part);
            }
        }
    }

    /// Tokenizes each piece alone and puts the ids together.
    pub(super) fn encode(self, tokenizer: &Tokenizer) -> Result<EncodedText, InputError> {
        let mut ids = Vec::new();
        let mut target_spans: Vec<(u32, u32)> = Vec::new();
        let mut images = 0;
        for piece in self.pieces {
            let Piece::Text { text, targets } = piece else {
                ids.push(IMAGE3D);
                images += 1;
                continue;
            };
            if ids.is_empty() {
                ids.extend(tokenizer.bos());
            }
            let tokens = tokenizer.encode_with_bytes(&text)?;
            for target in targets {
                // A token across the border belongs to the side where it starts.
                let inside = |at: usize| target.contains(&tokens[at].bytes.start);
                let mut learned = (0..tokens.len()).filter(|at| inside(*at));
                let Some(first) = learned.next() else { continue };
                let last = learned.next_back().unwrap_or(first);
                target_spans.push(((ids.len() + first) as u32, (ids.len() + last + 1) as u32));
            }
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(EncodedText { ids, target_spans, images, truncated: false, ids_cut: 0 })
    }
}
