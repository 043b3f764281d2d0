//! A formatted conversation: pieces of text and images, and their encoding as token ids. Target spans follow from the
//! formatting, not from the tokens.

use std::ops::Range;

use super::marks::{IMAGE3D, IMAGE3D_TOKEN};
use super::tokenizer::Tokenizer;
use crate::error::InputError;

/// A conversation in token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedText {
    /// Token ids, [`IMAGE3D`] for each image.
    pub ids: Vec<i32>,
    /// Start (included) and stop (excluded) indices into `ids` of the training targets, in order and without overlap;
    /// empty for a prompt.
    pub target_spans: Vec<(u32, u32)>,
    /// Number of images in `ids`.
    pub images: usize,
    /// Whether ids were cut to fit the budget.
    pub truncated: bool,
    /// Number of ids that were cut.
    pub ids_cut: usize,
}

/// A formatted conversation that is not yet tokenized.
#[derive(Default)]
pub(super) struct Conversation {
    pieces: Vec<Piece>,
}

enum Piece {
    Image,
    /// Text between images, and the byte ranges of the targets and of the template's special tokens in it.
    Text {
        text: String,
        targets: Vec<Range<usize>>,
        marks: Vec<Range<usize>>,
    },
}

/// A part of a target.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    /// Words of the data or of the template.
    Words(&'a str),
    /// A special token that the template puts there.
    Mark(&'a str),
}

impl Conversation {
    fn open(&mut self) -> (&mut String, &mut Vec<Range<usize>>, &mut Vec<Range<usize>>) {
        if !matches!(self.pieces.last(), Some(Piece::Text { .. })) {
            self.pieces.push(Piece::Text { text: String::new(), targets: Vec::new(), marks: Vec::new() });
        }
        match self.pieces.last_mut() {
            Some(Piece::Text { text, targets, marks }) => (text, targets, marks),
            _ => unreachable!("the last piece is a text"),
        }
    }

    /// An empty text before a leading image, at which the tokenizer's start token is inserted.
    pub(super) fn start(&mut self) {
        self.open();
    }

    /// Consecutive images.
    pub(super) fn images(&mut self, count: usize) {
        self.pieces.extend((0..count).map(|_| Piece::Image));
    }

    /// Text that is not a target.
    pub(super) fn text(&mut self, part: &str) {
        self.open().0.push_str(part);
    }

    /// A special token of the template that is not a target.
    pub(super) fn mark(&mut self, mark: &str) {
        let (text, _, marks) = self.open();
        marks.push(text.len()..text.len() + mark.len());
        text.push_str(mark);
    }

    /// Text that is one target span.
    pub(super) fn target(&mut self, parts: &[Part<'_>]) {
        let start = self.open().0.len();
        for part in parts {
            match part {
                Part::Words(words) => self.text(words),
                Part::Mark(mark) => self.mark(mark),
            }
        }
        let (text, targets, _) = self.open();
        targets.push(start..text.len());
    }

    /// Text that is not a target, with images in place of their marks.
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

    /// Tokenizes each piece separately and concatenates the ids.
    pub(super) fn encode(self, tokenizer: &Tokenizer) -> Result<EncodedText, InputError> {
        let mut ids = Vec::new();
        let mut target_spans: Vec<(u32, u32)> = Vec::new();
        let mut images = 0;
        for piece in self.pieces {
            let Piece::Text { text, targets, marks } = piece else {
                ids.push(IMAGE3D);
                images += 1;
                continue;
            };
            if ids.is_empty() {
                ids.extend(tokenizer.bos());
            }
            let tokens = tokenizer.encode_with_bytes(&text, &marks)?;
            // A token across a border belongs to the side on which it starts. Targets are in order.
            let mut spans: Vec<Option<(usize, usize)>> = vec![None; targets.len()];
            for (index, token) in tokens.iter().enumerate() {
                let target = targets.partition_point(|target| target.end <= token.bytes.start);
                if targets.get(target).is_some_and(|target| target.contains(&token.bytes.start)) {
                    spans[target] = Some((spans[target].map_or(index, |(first, _)| first), index + 1));
                }
            }
            let spans = spans.into_iter().flatten();
            target_spans.extend(spans.map(|(first, stop)| ((ids.len() + first) as u32, (ids.len() + stop) as u32)));
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(EncodedText { ids, target_spans, images, truncated: false, ids_cut: 0 })
    }
}
