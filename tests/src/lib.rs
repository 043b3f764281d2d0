//! What the tests of the outside share. They know the products as programs only, and no crate of the workspace.
//!
//! # Layout
//!
//! - `python`: a Python with pandas, datasets, torch and the like, run
//! - `source`: the repository's files, with Rust code told from comments and text
//! - `json_schema`: whether a value is as a schema says
//! - `clinic`: a few CTs with a table of reports, as the documents' examples name them
//! - `packages`: the workspace's packages as cargo sees them
//! - `program`: the products, run; `server`: one that serves a page, asked
//! - `bounded`: a program that may take so much memory and time
//! - `commands`: the command lines that documents show, run
//! - `fault`: reads that fail as on a bad disk
//! - `phantom`: a made-up study in M3D's layout, with broken inputs
//! - `dicom_file`: DICOM files of whole bytes, and slices of a CT
//! - `own`: CTs and texts as a hospital has them
//! - `study`: the study prepared by the program, and its rows
//! - `tiny`: the study prepared, and a model that trains on it in seconds

pub mod bounded;
pub mod clinic;
pub mod commands;
pub mod dicom_file;
pub mod fault;
pub mod json_schema;
pub mod own;
pub mod packages;
pub mod phantom;
pub mod program;
pub mod python;
pub mod server;
pub mod source;
pub mod study;
pub mod tiny;
