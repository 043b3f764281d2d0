//! What a person looks at: one row of a dataset and its picture, the rows of a query.

pub mod inspect;
pub mod sql;
