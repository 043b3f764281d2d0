//! Loading that accepts nothing less and nothing more.

use std::collections::HashMap;

use tch::{Tensor, no_grad};

use super::nearest::nearest;
use crate::model::ModelError;

/// Copies `tensors` into `own`, converted to its kind and device, once every name and shape is accounted for. `part` stands
/// in messages; names that are not own and for which `is_foreign` holds are passed over.
pub(super) fn load(
    part: &'static str,
    own: Vec<(String, Tensor)>,
    tensors: Vec<(String, Tensor)>,
    is_foreign: impl Fn(&str) -> bool,
) -> Result<(), ModelError> {
    let known: HashMap<&String, &Tensor> = own.iter().map(|(name, tensor)| (name, tensor)).collect();
    let given: HashMap<String, Tensor> =
        tensors.into_iter().filter(|(name, _)| known.contains_key(name) || !is_foreign(name)).collect();

    let mut unexpected: Vec<&String> = given.keys().filter(|name| !known.contains_key(name)).collect();
    unexpected.sort();
    if let Some(name) = unexpected.first() {
        let nearest = nearest(name, known.keys().copied());
        return Err(ModelError::UnexpectedWeight { part, name: name.to_string(), nearest });
    }
    for (name, tensor) in &own {
        let name = name.clone();
        let Some(found) = given.get(&name) else {
            let nearest = nearest(&name, given.keys());
            return Err(ModelError::MissingWeight { part, name, nearest });
        };
        if found.size() != tensor.size() {
            return Err(ModelError::WeightShape { part, name, expected: tensor.size(), found: found.size() });
        }
    }
    no_grad(|| own.iter().for_each(|(name, tensor)| tensor.shallow_clone().copy_(&given[name])));
    Ok(())
}
