//! What a person looks at: one row of a dataset and its picture, the rows of a query, what was set aside.

pub mod inspect;
pub mod rejects;
pub mod sql;
