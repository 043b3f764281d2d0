//! Pages that hold everything they show: one frame with one style sheet, charts as SVG, tables, and one script with a viewer of
//! slices. They ask for no other file, take light and dark from the reader's system, print, and work without the script as still
//! pictures.
//!
//! Values in, markup out; what a report says is up to who makes it.
//!
//! # Layout
//! - `frame`: the page around its sections, and what it lets a browser fetch and run (nothing from outside)
//! - `table`, `list`: tables in boxes of their own, facts, tiles; answers with a filter; `words`: where two texts differ
//! - `svg`: charts
//! - `slices`: a volume's slices above the bars of its questions
//! - `data`: pictures as addresses
//!
//! `style.css` and `viewer.js` beside them are the page's style and script.

#![warn(missing_docs)]

mod data;
mod frame;
mod list;
mod slices;
pub mod svg;
mod table;
mod words;

pub use data::data_address;
pub use frame::{Frame, STYLE, VIEWER, style_of_charts};
pub use list::{AnswerItem, AnswerList, Verdict};
pub use slices::{Question, Still, Volume};
pub use table::{facts, scroll, table, tiles};
pub use words::differences;
