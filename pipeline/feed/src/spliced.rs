//! The length of a text once its volumes are spliced into it, and its targets: what a step is planned from before a voxel is
//! read.

use med2e3_schemas::sample::IMAGE3D;
use med2e3_shards::Text;

use crate::TextForm;

/// A text as the language model gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spliced {
    /// Tokens, cut at [`Splicing::max_length`].
    pub length: usize,
    /// Targets among them. The first token has none before it that could predict it, so it is never one.
    pub targets: usize,
    /// The position of the first target, whether it is cut off or not; all positions where there is none.
    pub before_target: usize,
}

/// How volumes become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splicing {
    /// Tokens of a volume.
    pub visual_tokens: usize,
    /// Tokens after which a text is cut.
    pub max_length: usize,
}

impl Splicing {
    /// What becomes of a sample's text; `None` where it has no such form.
    pub fn of(self, sample: &Text<'_>, form: TextForm) -> Option<Spliced> {
        let ids = match form {
            TextForm::Pretrain => sample.pretrain_ids?,
            TextForm::Conversation | TextForm::Prompt => sample.ids,
        };
        // Spans come one after the other, so one walk over them goes along with the ids.
        let mut spans = sample.target_spans.iter().copied().peekable();
        let mut is_target = |at: usize| match form {
            TextForm::Pretrain => true,
            TextForm::Conversation => {
                while spans.next_if(|[_, end]| *end as usize <= at).is_some() {}
                spans.peek().is_some_and(|[start, _]| *start as usize <= at)
            }
            TextForm::Prompt => false,
        };
        let (mut spliced, mut position, mut first) = (Spliced::default(), 0, None);
        for (at, id) in ids.iter().enumerate() {
            if position > 0 && *id != IMAGE3D && is_target(at) {
                first.get_or_insert(position);
                spliced.targets += usize::from(position < self.max_length);
            }
            position += if *id == IMAGE3D { self.visual_tokens } else { 1 };
        }
        spliced.length = position.min(self.max_length);
        spliced.before_target = first.unwrap_or(position);
        Some(spliced)
    }
}
