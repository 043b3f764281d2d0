//! A table's columns, before its rows are read.

use std::path::{Path, PathBuf};

use super::m3d_vqa;
use super::table;
use super::table_rows::TableRows;
use crate::PrepareError;
use crate::config::{Columns, ManifestLimits, TextTable};

/// A table of texts with the names of its columns.
#[derive(Clone, Debug)]
pub struct TableHead {
    stated: TextTable,
    path: PathBuf,
    header: Vec<String>,
}

impl TableHead {
    /// Reads a table's header; of JSON every row is looked at.
    ///
    /// # Errors
    /// A file that can't be read, or that is no table of its format.
    pub fn read(root: &Path, table: &TextTable) -> Result<TableHead, PrepareError> {
        let path = root.join(&table.path);
        let header = TableRows::open(&path, table, ManifestLimits::default())?.header();
        Ok(TableHead { stated: table.clone(), path, header })
    }

    /// The names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Whether the table is one of M3D-VQA, which has rules of its own.
    pub fn is_of_m3d_vqa(&self) -> bool {
        m3d_vqa::COLUMNS.iter().all(|column| self.header.iter().any(|name| name == column))
    }

    /// Whether columns are known by their names that name volumes and hold texts.
    pub fn has_known_columns(&self) -> bool {
        let columns = Columns::of_header(&self.header);
        columns.name_volumes() && columns.hold_texts()
    }

    /// The table with its columns stated, as their names tell.
    ///
    /// # Errors
    /// Columns of which too few are known.
    pub fn table(&self) -> Result<TextTable, PrepareError> {
        let columns = table::columns(&self.path, &self.stated, &self.header)?;
        Ok(TextTable { columns, ..self.stated.clone() })
    }
}
