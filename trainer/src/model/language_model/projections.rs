//! The maps of one block, in the two layouts in which families of decoders store them.

use tch::Tensor;

use super::config::{Family, LanguageModelConfig};
use super::rope::Angles;
use crate::model::draws::draw_key;
use crate::model::layers::{AdaptedLinear, Init, Tape, gated, gated_halves};

/// What a block does between its norms and its sums, whatever the layout of its weights.
pub(crate) trait Projections: Send {
    /// Normed tokens (B, T, E) to queries, keys and values, each (B, T, A, E of a head), the first two turned.
    fn heads(&self, normed_bte: &Tensor, angles: &Angles, maps: &mut Maps) -> [Tensor; 3];

    /// Normed tokens (.., E) to what goes through the activated gate, (.., intermediate).
    fn gated(&self, normed: &Tensor, maps: &mut Maps) -> Tensor;

    /// Every map with its role.
    fn linears(&self) -> Vec<(Role, &AdaptedLinear)>;

    /// The same, to be changed.
    fn linears_mut(&mut self) -> Vec<(Role, &mut AdaptedLinear)>;

    /// Another handle of the same weights.
    fn shallow_clone(&self) -> Box<dyn Projections>;
}

/// How the maps of one block are computed in one pass.
pub(crate) struct Maps<'a> {
    pub(crate) tape: &'a mut Tape,
    /// What the adapters of the block drop in training is drawn from this.
    pub(crate) dropout_seed: Option<u64>,
}

impl Maps<'_> {
    pub(crate) fn map(&mut self, role: Role, linear: &AdaptedLinear, x: &Tensor) -> Tensor {
        linear.map(x, None, self.seed_of(role), self.tape)
    }

    /// The map of `x`, added to `residual`.
    pub(crate) fn add_to(&mut self, role: Role, linear: &AdaptedLinear, residual: &Tensor, x: &Tensor) -> Tensor {
        linear.map(x, Some(residual), self.seed_of(role), self.tape)
    }

    fn seed_of(&self, role: Role) -> Option<u64> {
        self.dropout_seed.map(|seed| draw_key(&[seed, role as u64]))
    }
}

/// What a map of a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Queries, keys and values in one.
    QueryKeyValue,
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// From the heads back.
    Out,
    /// Gate and up in one.
    GateUp,
    /// What the activation goes through.
    Gate,
    /// What the gate weighs.
    Up,
    /// Back to the token width.
    Down,
}

impl Family {
    /// The maps of a block, as this family stores them.
    pub(crate) fn roles(self) -> &'static [Role] {
        use Role::{Down, Gate, GateUp, Key, Out, Query, QueryKeyValue, Up, Value};
        match self {
            Family::Phi3 => &[QueryKeyValue, GateUp, Out, Down],
            Family::Llama | Family::Mistral | Family::Qwen2 => &[Query, Key, Value, Gate, Up, Out, Down],
        }
    }
}

/// The projections of one block, as the config's family stores them.
pub(super) fn build(config: &LanguageModelConfig, init: &Init) -> Box<dyn Projections> {
    let shape =
        HeadShape { queries: config.num_attention_heads, keys: config.num_key_value_heads, width: config.head_width() };
    let (from, to) = (config.hidden_size, config.intermediate_size);
    match config.model_type {
        Family::Phi3 => Box::new(Fused {
            query_key_value: AdaptedLinear::without_bias(init, from, (shape.queries + 2 * shape.keys) * shape.width),
            gate_up: AdaptedLinear::without_bias(init, from, 2 * to),
            shape,
        }),
        Family::Llama | Family::Mistral | Family::Qwen2 => {
            let heads = |count: i64| match config.model_type {
                Family::Qwen2 => AdaptedLinear::new(init, from, count * shape.width),
                _ => AdaptedLinear::without_bias(init, from, count * shape.width),
            };
            Box::new(Split {
                query: heads(shape.queries),
                key: heads(shape.keys),
                value: heads(shape.keys),
                gate: AdaptedLinear::without_bias(init, from, to),
                up: AdaptedLinear::without_bias(init, from, to),
                width: shape.width,
            })
        }
    }
}

/// Heads of a block.
#[derive(Clone, Copy)]
struct HeadShape {
    queries: i64,
    keys: i64,
    width: i64,
}

/// Phi-3's layout: queries, keys, values in one matrix, in this order; gate and up in another.
struct Fused {
    query_key_value: AdaptedLinear,
    gate_up: AdaptedLinear,
    shape: HeadShape,
}

impl Projections for Fused {
    fn heads(&self, normed_bte: &Tensor, angles: &Angles, maps: &mut Maps) -> [Tensor; 3] {
        let HeadShape { queries, keys, width } = self.shape;
        let heads_bte = maps.map(Role::QueryKeyValue, &self.query_key_value, normed_bte);
        let heads_btae = heads_bte.unflatten(-1, [-1, width]);
        let parts = heads_btae.split_with_sizes([queries + keys, keys], 2);
        let turned = angles.turn(&parts[0]).split_with_sizes([queries, keys], 2);
        [turned[0].shallow_clone(), turned[1].shallow_clone(), parts[1].shallow_clone()]
    }

    fn gated(&self, normed: &Tensor, maps: &mut Maps) -> Tensor {
        gated_halves(&maps.map(Role::GateUp, &self.gate_up, normed))
    }

    fn linears(&self) -> Vec<(Role, &AdaptedLinear)> {
        vec![(Role::QueryKeyValue, &self.query_key_value), (Role::GateUp, &self.gate_up)]
    }

    fn linears_mut(&mut self) -> Vec<(Role, &mut AdaptedLinear)> {
        vec![(Role::QueryKeyValue, &mut self.query_key_value), (Role::GateUp, &mut self.gate_up)]
    }

    fn shallow_clone(&self) -> Box<dyn Projections> {
        Box::new(Fused {
            query_key_value: self.query_key_value.shallow_clone(),
            gate_up: self.gate_up.shallow_clone(),
            shape: self.shape,
        })
    }
}

/// Llama's layout, and with biases Qwen2's: a matrix each.
struct Split {
    query: AdaptedLinear,
    key: AdaptedLinear,
    value: AdaptedLinear,
    gate: AdaptedLinear,
    up: AdaptedLinear,
    width: i64,
}

impl Projections for Split {
    fn heads(&self, normed_bte: &Tensor, angles: &Angles, maps: &mut Maps) -> [Tensor; 3] {
        let mut heads =
            |role: Role, linear: &AdaptedLinear| maps.map(role, linear, normed_bte).unflatten(-1, [-1, self.width]);
        let query_btae = angles.turn(&heads(Role::Query, &self.query));
        let key_btae = angles.turn(&heads(Role::Key, &self.key));
        [query_btae, key_btae, heads(Role::Value, &self.value)]
    }

    fn gated(&self, normed: &Tensor, maps: &mut Maps) -> Tensor {
        let gate = maps.map(Role::Gate, &self.gate, normed);
        gated(&gate, &maps.map(Role::Up, &self.up, normed))
    }

    fn linears(&self) -> Vec<(Role, &AdaptedLinear)> {
        vec![
            (Role::Query, &self.query),
            (Role::Key, &self.key),
            (Role::Value, &self.value),
            (Role::Gate, &self.gate),
            (Role::Up, &self.up),
        ]
    }

    fn linears_mut(&mut self) -> Vec<(Role, &mut AdaptedLinear)> {
        vec![
            (Role::Query, &mut self.query),
            (Role::Key, &mut self.key),
            (Role::Value, &mut self.value),
            (Role::Gate, &mut self.gate),
            (Role::Up, &mut self.up),
        ]
    }

    fn shallow_clone(&self) -> Box<dyn Projections> {
        Box::new(Split {
            query: self.query.shallow_clone(),
            key: self.key.shallow_clone(),
            value: self.value.shallow_clone(),
            gate: self.gate.shallow_clone(),
            up: self.up.shallow_clone(),
            width: self.width,
        })
    }
}
