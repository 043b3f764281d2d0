//! Loading that accepts nothing less and nothing more.

use std::collections::{HashMap, HashSet};

use tch::{Tensor, no_grad};

use super::nearest::nearest;
use crate::model::ModelError;

/// How the names of one part are read.
pub(super) struct Names<'a> {
    /// For messages.
    pub(super) part: &'static str,
    /// The published name of a file's tensor, of those that the part has.
    pub(super) published: &'a dyn Fn(&str, &HashSet<&str>) -> Option<String>,
    /// Whether a file may hold the name although the part does not use it.
    pub(super) is_foreign: &'a dyn Fn(&str) -> bool,
}

/// Gives `own` the tensors of a file: `given` are their names and shapes, `read` returns one. Returns the names that were
/// passed over.
pub(super) fn load<E: From<ModelError>>(
    names: &Names<'_>,
    own: Vec<(String, Tensor)>,
    given: &[(String, Vec<i64>)],
    mut read: impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<Vec<String>, E> {
    let (order, passed_over) = account(names, &own, given)?;
    for ((_, own), given) in own.into_iter().zip(order) {
        let values = read(&given)?.to_device(own.device()).to_kind(own.kind());
        adopt(own, &values);
    }
    Ok(passed_over)
}

/// [`load`] from tensors in memory, which are copied.
pub(super) fn load_tensors(
    names: &Names<'_>,
    own: Vec<(String, Tensor)>,
    tensors: &[(String, Tensor)],
) -> Result<Vec<String>, ModelError> {
    let shapes: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect();
    let by_name: HashMap<&str, &Tensor> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    load(names, own, &shapes, |name| Ok(by_name[name].detach().copy()))
}

/// Every weight must be there once, in its shape, and nothing else except what published files are known to hold in addition.
/// Returns the file's name of each weight, in the part's order, and the names in addition.
fn account(
    names: &Names<'_>,
    own: &[(String, Tensor)],
    given: &[(String, Vec<i64>)],
) -> Result<(Vec<String>, Vec<String>), ModelError> {
    let part = names.part;
    let own_names: HashSet<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    let (mut known, mut passed_over, mut unexpected) = (HashMap::new(), Vec::new(), Vec::new());
    for (name, shape) in given {
        match (names.published)(name, &own_names) {
            Some(published) => {
                if let Some((earlier, _)) = known.insert(published.clone(), (name, shape)) {
                    let (expected, found) = (format!("one tensor named {published}"), format!("{earlier} and {name}"));
                    return Err(ModelError::config(part, expected, found));
                }
            }
            None if (names.is_foreign)(name) => passed_over.push(name.clone()),
            None => unexpected.push(name),
        }
    }
    unexpected.sort();
    if let Some(name) = unexpected.first() {
        let nearest = nearest(name, own.iter().map(|(name, _)| name));
        return Err(ModelError::UnexpectedWeight { part, name: name.to_string(), nearest });
    }
    let mut order = Vec::with_capacity(own.len());
    for (name, tensor) in own {
        let Some((given_name, found)) = known.get(name.as_str()) else {
            let nearest = nearest(name, given.iter().map(|(name, _)| name));
            return Err(ModelError::MissingWeight { part, name: name.clone(), nearest });
        };
        if **found != tensor.size() {
            let (expected, found) = (tensor.size(), found.to_vec());
            return Err(ModelError::WeightShape { part, name: name.clone(), expected, found });
        }
        order.push(given_name.to_string());
    }
    Ok((order, passed_over))
}

/// Replaces a weight's values by a tensor.
pub(super) fn adopt(mut weight: Tensor, values: &Tensor) {
    no_grad(|| weight.set_data(values));
}
