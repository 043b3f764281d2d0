//! Questions in the order in which they came: they are answered one by one, and each asker is told how it goes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use med2e3_program::Stopwatch;
use med2e3_schemas::guarded::guarded;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

use super::volumes::Shown;
use crate::device_batch::voxels;
use crate::generate::Decoding;
use crate::generate::answerer::{Answerer, Heard, Reply};
use crate::http::refusal::Refusal;

/// Questions that wait at most.
const MOST_WAITING: usize = 16;

/// A question about a volume.
pub(super) struct Question {
    pub(super) volume: Arc<Shown>,
    pub(super) text: String,
    pub(super) decoding: Decoding,
    /// Tokens of the answer at most.
    pub(super) max_new_tokens: usize,
    /// To who asked; closed where nobody listens any more.
    pub(super) asker: UnboundedSender<Told>,
}

/// What an asker is told, in this order; tokens many times.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Told {
    /// How many questions are before it.
    Queue { place: usize },
    /// How much each slice counts.
    Scores { scores: Vec<f32> },
    /// The answer so far.
    Token { answer: String },
    /// The whole answer.
    Done {
        answer: String,
        seconds: f64,
        /// `end` or `most_tokens`.
        stopped_by: &'static str,
    },
    /// Why there is none.
    Error { message: String },
}

impl Told {
    /// The event's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Told::Queue { .. } => "queue",
            Told::Scores { .. } => "scores",
            Told::Token { .. } => "token",
            Told::Done { .. } => "done",
            Told::Error { .. } => "error",
        }
    }
}

/// The questions that wait.
#[derive(Default)]
pub(super) struct Questions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Question>,
    /// Whether one is being answered.
    is_answering: bool,
    is_closed: bool,
}

impl State {
    fn tell_places(&self) {
        for (before, question) in self.waiting.iter().enumerate() {
            let _ = question.asker.send(Told::Queue { place: before + usize::from(self.is_answering) });
        }
    }
}

impl Questions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a question behind those that wait.
    ///
    /// # Errors
    /// Too many wait, or no more are answered.
    pub(super) fn add(&self, question: Question) -> Result<(), Refusal> {
        let mut state = self.state();
        state.waiting.retain(|question| !question.asker.is_closed());
        if state.is_closed {
            return Err(Refusal::Busy("the server stops"));
        }
        if state.waiting.len() >= MOST_WAITING {
            return Err(Refusal::Busy("16 questions wait already; ask again in a moment"));
        }
        state.waiting.push_back(question);
        state.tell_places();
        self.changed.notify_one();
        Ok(())
    }

    /// No more questions are answered; those that wait are told.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        for question in state.waiting.drain(..) {
            let _ = question.asker.send(Told::Error { message: "the server stops".into() });
        }
        self.changed.notify_all();
    }

    fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// The next question that somebody waits for; blocks until there is one. None once closed.
    fn next(&self) -> Option<Question> {
        let mut state = self.state();
        loop {
            state.is_answering = false;
            state.waiting.retain(|question| !question.asker.is_closed());
            if let Some(question) = state.waiting.pop_front() {
                state.is_answering = true;
                state.tell_places();
                return Some(question);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Answers questions until [`Questions::close`].
    pub(super) fn answer_all(&self, answerer: &Answerer) {
        while let Some(question) = self.next() {
            let watch = Stopwatch::start();
            // A lack of memory is a panic of libtorch's; the next question may need less.
            let answered = guarded(|| self.answer(answerer, &question));
            let told = match answered {
                Ok(Ok(reply)) => Told::Done {
                    answer: reply.answer,
                    seconds: watch.seconds(),
                    stopped_by: if reply.is_cut { "most_tokens" } else { "end" },
                },
                Ok(Err(message)) | Err(message) => Told::Error { message },
            };
            let _ = question.asker.send(told);
        }
    }

    fn answer(&self, answerer: &Answerer, question: &Question) -> Result<Reply, String> {
        let words = |error: crate::TrainerError| med2e3_program::with_causes(&error);
        let Question { volume, text, decoding, max_new_tokens, asker } = question;
        let prompt = answerer.prompt(text).map_err(words)?;
        let voxels_bcdhw = voxels(&volume.cell, 1, &volume.format, answerer.device());
        let hear = |heard: Heard| {
            let told = match heard {
                Heard::Scores(scores) => Told::Scores { scores },
                Heard::Text(answer) => Told::Token { answer },
            };
            // Who no longer listens needs no answer.
            asker.send(told).is_ok() && !self.is_closed()
        };
        answerer.answer_aloud(&voxels_bcdhw, &prompt, *decoding, *max_new_tokens, hear).map_err(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn question(text: &str) -> (Question, UnboundedReceiver<Told>) {
        let (asker, told) = unbounded_channel();
        let format = VoxelFormat::unit_range([1, 1, 1], VoxelCode::U8);
        let (key, name) = ("key".into(), "name".into());
        let volume = Arc::new(Shown { key, name, cell: vec![0], format, sheet: vec![], units: None });
        let text = text.into();
        (Question { volume, text, decoding: Decoding::Greedy, max_new_tokens: 1, asker }, told)
    }

    #[test]
    fn who_waits_knows_its_place_and_who_has_gone_is_not_answered() {
        let questions = Questions::default();
        let [(first, mut first_told), (second, second_told), (third, mut third_told)] = ["1", "2", "3"].map(question);
        for question in [first, second, third] {
            questions.add(question).unwrap();
        }
        drop(second_told);
        assert_eq!(questions.next().unwrap().text, "1");
        assert_eq!(first_told.try_recv(), Ok(Told::Queue { place: 0 }));
        let mut places = Vec::new();
        while let Ok(Told::Queue { place }) = third_told.try_recv() {
            places.push(place);
        }
        assert_eq!(places, [2, 1]);
        assert_eq!(questions.next().unwrap().text, "3");
        questions.close();
        assert!(questions.next().is_none());
        assert!(matches!(questions.add(question("4").0), Err(Refusal::Busy(_))));
    }

    #[test]
    fn only_so_many_wait() {
        let questions = Questions::default();
        let mut told = Vec::new();
        for number in 0..MOST_WAITING {
            let (question, receiver) = question(&number.to_string());
            questions.add(question).unwrap();
            told.push(receiver);
        }
        let (more, _) = question("more");
        assert!(matches!(questions.add(more), Err(Refusal::Busy(_))));
        // One that has gone makes room.
        told.pop();
        let (more, _receiver) = question("more");
        questions.add(more).unwrap();
        questions.close();
        let end = std::iter::from_fn(|| told[0].try_recv().ok()).last();
        assert_eq!(end, Some(Told::Error { message: "the server stops".into() }));
    }
}
