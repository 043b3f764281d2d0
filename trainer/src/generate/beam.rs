//! Beam search as in transformers (`generation/utils.py`, `early_stopping = False`): each step keeps the best continuations
//! of all of a prompt's beams; an answer that ends and ranks among as many as there are beams is stored; the search of a
//! prompt ends when as many answers are stored and the best beam, at its present length, scores no better than the worst of
//! them.

use tch::{Kind, Tensor};

use super::decoding::Until;
use super::rows::Rows;
use crate::model::ModelError;

/// An answer that has not ended.
#[derive(Clone)]
struct Beam {
    ids: Vec<i64>,
    log_probability: f32,
}

/// One prompt's search.
struct Search {
    beams: Vec<Beam>,
    /// Ended answers and their scores, the best first.
    ended: Vec<(f32, Vec<i64>)>,
    is_over: bool,
}

/// The best answer of every row.
pub(super) fn search(
    mut rows: Rows,
    until: &Until,
    beams: usize,
    length_penalty: f64,
) -> Result<Vec<Vec<i64>>, ModelError> {
    let prompts = rows.count();
    // All beams of a prompt begin as the prompt; all but the first are excluded until they differ.
    rows.reorder(&(0..prompts * beams).map(|row| row / beams).collect::<Vec<_>>());
    let beam = |beam| Beam { ids: Vec::new(), log_probability: if beam == 0 { 0.0 } else { -1e9 } };
    let start = || Search { beams: (0..beams).map(beam).collect(), ended: Vec::new(), is_over: false };
    let mut searches: Vec<Search> = (0..prompts).map(|_| start()).collect();

    for length in 1..=until.max_new_tokens {
        let candidates = candidates(&rows.logits(), &searches, until.stop_ids.len().max(1) + 1);
        let mut origins = Vec::with_capacity(prompts * beams);
        let mut next = Vec::with_capacity(prompts * beams);
        for (prompt, (search, candidates)) in searches.iter_mut().zip(candidates).enumerate() {
            let from = search.advance(candidates, length, until, length_penalty);
            origins.extend(from.into_iter().map(|beam| prompt * beams + beam));
            next.extend(search.beams.iter().map(|beam| *beam.ids.last().expect("a beam has grown")));
        }
        if length == until.max_new_tokens || searches.iter().all(|search| search.is_over) {
            break;
        }
        rows.reorder(&origins);
        rows.push(&Tensor::from_slice(&next).to_device(rows.device()))?;
    }
    Ok(searches.into_iter().map(Search::best).collect())
}

/// A continuation: its beam, its token, the log-probability of the whole.
type Candidate = (usize, i64, f32);

/// For each prompt the best `factor` times as many continuations as it has beams, the best first.
fn candidates(logits_bv: &Tensor, searches: &[Search], factor: usize) -> Vec<Vec<Candidate>> {
    let (vocabulary, beams) = (logits_bv.size()[1], searches[0].beams.len());
    let so_far: Vec<f32> =
        searches.iter().flat_map(|search| search.beams.iter().map(|beam| beam.log_probability)).collect();
    let so_far_b1 = Tensor::from_slice(&so_far).to_device(logits_bv.device()).unsqueeze(1);
    let sums_br = (logits_bv.log_softmax(-1, Kind::Float) + so_far_b1).view([searches.len() as i64, -1]);
    let count = (factor * beams).min(sums_br.size()[1] as usize);
    let (values_br, indices_br) = sums_br.topk(count as i64, -1, true, true);
    let values: Vec<f32> = Vec::try_from(values_br.flatten(0, 1)).expect("a flat f32 tensor");
    let indices: Vec<i64> = Vec::try_from(indices_br.flatten(0, 1)).expect("a flat i64 tensor");
    let candidate = |(value, index): (&f32, &i64)| ((index / vocabulary) as usize, index % vocabulary, *value);
    let rows = values.chunks(count).zip(indices.chunks(count));
    rows.map(|(values, indices)| values.iter().zip(indices).map(candidate).collect()).collect()
}

impl Search {
    /// Takes one step's candidates, the best first; `length` counts the tokens of an answer after it. Returns the beam that
    /// each new beam continues.
    fn advance(&mut self, candidates: Vec<Candidate>, length: usize, until: &Until, length_penalty: f64) -> Vec<usize> {
        let count = self.beams.len();
        let score = |log_probability: f32| log_probability / (length as f64).powf(length_penalty) as f32;
        let (mut beams, mut origins) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (rank, (beam, id, log_probability)) in candidates.into_iter().enumerate() {
            let is_stop = until.stop_ids.contains(&id);
            let has_ended = is_stop || length == until.max_new_tokens;
            if has_ended && rank < count && !self.is_over {
                let mut ids = self.beams[beam].ids.clone();
                if !is_stop {
                    ids.push(id);
                }
                self.ended.push((score(log_probability), ids));
            }
            if !is_stop && beams.len() < count {
                let mut ids = self.beams[beam].ids.clone();
                ids.push(id);
                beams.push(Beam { ids, log_probability });
                origins.push(beam);
            }
        }
        // A vocabulary of stop ids alone leaves too few: the rest are copies that can't win.
        while beams.len() < count {
            let (mut beam, origin) = (self.beams[0].clone(), origins.last().copied().unwrap_or(0));
            beam.ids.push(until.stop_ids.first().copied().unwrap_or(0));
            beam.log_probability = f32::NEG_INFINITY;
            beams.push(beam);
            origins.push(origin);
        }
        self.beams = beams;
        self.ended.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.ended.truncate(count);
        let worst = self.ended.last().filter(|_| self.ended.len() == count).map(|(score, _)| *score);
        self.is_over |= worst.is_some_and(|worst| score(self.beams[0].log_probability) <= worst);
        origins
    }

    fn best(self) -> Vec<i64> {
        self.ended.into_iter().next().map(|(_, ids)| ids).unwrap_or_default()
    }
}
