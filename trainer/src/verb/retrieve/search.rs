//! Ranks of all items for each query.

use med2e3_metric::retrieval::{best, ranks};
use tch::{Device, Tensor};

use super::encode::Features;

/// Queries compared with all items at once: a block of similarities, never the whole matrix, is in memory.
const BLOCK: usize = 256;

/// For each query, in the order of the selection, the rank of its right item and the item that ranks first.
pub(super) struct Ranked {
    /// Rank, from 1, of the query's own partner.
    pub(super) own: Vec<usize>,
    /// Rank, from 1, of the best item with the partner's text.
    pub(super) by_text: Vec<usize>,
    /// Number of the item that ranks first.
    pub(super) first: Vec<usize>,
}

/// Ranks all items for each query by the cosine of their features. The logit scale would change no order. `own` and `by_text`
/// are the groups of items in which an item is right.
pub(super) fn search(queries: &Features, items: &Features, own: &[usize], by_text: &[usize]) -> Ranked {
    let device = items.distinct_re.device();
    let index = |rows: &[i64]| Tensor::from_slice(rows).to_device(device);
    let (items_er, columns) = (items.distinct_re.transpose(0, 1), index(&items.rows));
    let mut ranked = Ranked { own: Vec::new(), by_text: Vec::new(), first: Vec::new() };
    for (number, block) in queries.rows.chunks(BLOCK).enumerate() {
        let block_be = queries.distinct_re.index_select(0, &index(block));
        // Equal items get equal scores, bit for bit, since each was compared once.
        let scores_br = block_be.matmul(&items_er).index_select(1, &columns);
        let scores = scores_br.to_device(Device::Cpu).flatten(0, -1);
        let scores = Vec::<f32>::try_from(scores).expect("a flat f32 tensor on the CPU");
        let first_query = number * BLOCK;
        ranked.own.extend(ranks(&scores, first_query, own));
        ranked.by_text.extend(ranks(&scores, first_query, by_text));
        ranked.first.extend(best(&scores, own.len()));
    }
    ranked
}
