//! What a person looks at: one row of a dataset and its picture, a page of rows, numbers of the whole, the rows of a query, what
//! was set aside.

pub mod cells;
pub mod inspect;
pub mod rejects;
pub mod sql;
pub mod stats;
pub mod tables;
pub mod view;
