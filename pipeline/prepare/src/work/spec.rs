//! The work on one table, as a value: all that a process needs to make the table's shards, and no secret.

use std::path::PathBuf;
use std::sync::Arc;

use med2e3_schemas::config::parse;
use med2e3_schemas::quarantine::Table;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};

use super::{RangeWork, Texts, Volumes};
use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::progress::RowProgress;
use crate::provenance::Provenance;
use crate::run::TextTools;

/// What is to be done to the ranges of a table. It can be written as text and opened on any machine that sees its folders;
/// the key of withheld names is not part of it, but is read from the working folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkSpec {
    /// The table.
    pub table: Table,
    /// The run's configuration, as TOML.
    pub configuration: String,
    /// The hash of everything in it that changes the table's shards.
    pub recipe_hash: String,
    /// The data root, with links resolved.
    pub root: PathBuf,
    /// The dataset.
    pub dataset: PathBuf,
    /// The folder of receipts and, where names are withheld, of the key.
    pub work: PathBuf,
}

impl WorkSpec {
    /// The work, ready to run on `threads`.
    ///
    /// # Errors
    /// A configuration that does not parse; a key or a tokenizer that can't be read.
    pub fn open(
        &self,
        threads: Arc<ThreadPool>,
        progress: Arc<RowProgress>,
    ) -> Result<Arc<dyn RangeWork>, PrepareError> {
        let config = self.config()?;
        let provenance = Provenance::open(config.provenance.paths, &self.work)?;
        let tools = || TextTools::stored(&config.text, &self.dataset);
        self.work(&config, provenance, tools, threads, progress)
    }

    /// The work of a run that is there, to ask what is finished: nothing is made or changed. `tools` are those of its texts, where
    /// it has texts.
    ///
    /// # Errors
    /// A configuration that does not parse; a key or a tokenizer that can't be read.
    pub fn look(
        &self,
        tools: Option<&TextTools>,
        threads: Arc<ThreadPool>,
    ) -> Result<Arc<dyn RangeWork>, PrepareError> {
        let config = self.config()?;
        let provenance = Provenance::look(config.provenance.paths, &self.work)?;
        let tools = || tools.cloned().map_or_else(|| TextTools::stored(&config.text, &self.dataset), Ok);
        self.work(&config, provenance, tools, threads, Arc::new(RowProgress::hidden()))
    }

    fn config(&self) -> Result<PrepareConfig, PrepareError> {
        Ok(parse("the run's configuration", &self.configuration, &[])?)
    }

    fn work(
        &self,
        config: &PrepareConfig,
        provenance: Provenance,
        tools: impl FnOnce() -> Result<TextTools, PrepareError>,
        threads: Arc<ThreadPool>,
        progress: Arc<RowProgress>,
    ) -> Result<Arc<dyn RangeWork>, PrepareError> {
        Ok(match self.table {
            Table::Volumes => Arc::new(Volumes::new(self, config, provenance, threads, progress)),
            Table::Texts => Arc::new(Texts::new(self, &config.text, tools()?, provenance, threads, progress)),
        })
    }
}
