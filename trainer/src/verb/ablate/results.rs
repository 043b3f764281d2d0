//! What is done, read from the runs' own reports and written as tables: always the same for the same runs, whoever made them and when.

use std::path::Path;

use med2e3_metric::cases::Bootstrap;
use med2e3_program::machine::cores;
use med2e3_schemas::ablation::{AblateReport, AblatedRow, AblatedRun, AblationTable};
use med2e3_schemas::comparison::ComparedRun;
use med2e3_store::put_whole;

use super::rows::{self, TABLES, of_table};
use super::run::{EVALUATE, FINETUNE, RowRun};
use crate::TrainerError;
use crate::config::AblateConfig;
use crate::files::json::write_json;
use crate::lock::RunLock;
use crate::model::Preset;
use crate::tables::ablation;
use crate::verb::compare::{Evaluated, Found, Scope, Seeds, same_data, scored, unlike};
use crate::words::Word;

/// Decides which cases are drawn for intervals.
const SEED: u64 = 0;

/// Writes `ablate.json`, `ablate.md` and tables 3 to 5 of the runs that are done. One process at a time, so that none writes over what
/// another knows.
///
/// # Errors
/// Reports that do not read, or are of different samples; the system refuses.
pub(super) fn write(
    config: &AblateConfig,
    runs: &[RowRun<'_>],
    hash: &str,
    out: &Path,
) -> Result<AblateReport, TrainerError> {
    let _lock = RunLock::wait(out)?;
    let mut found: Vec<(Preset, u64, Evaluated)> = Vec::new();
    for run in runs {
        if run.is_done()? {
            let mut evaluated = Evaluated::read(&run.folder().join(EVALUATE))?;
            evaluated.run.path = format!("{}/{EVALUATE}", run.name());
            evaluated.run.checkpoint = format!("{}/{FINETUNE}", run.name());
            found.push((run.row, run.seed, evaluated));
        }
    }
    if let Some(((_, _, first), others)) = found.split_first() {
        others.iter().try_for_each(|(_, _, run)| same_data(first, run))?;
    }
    let all: Vec<&ComparedRun> = found.iter().map(|(_, _, run)| &run.run).collect();
    let mut notes: Vec<String> = found.iter().flat_map(|(_, _, run)| run.notes.iter().cloned()).collect();
    notes.extend(unlike(&all));
    let mut tables = Vec::new();
    for number in TABLES {
        let rows = of_table(number, config.base);
        let seeds = |row: &Preset| Seeds {
            name: row.as_str(),
            runs: found.iter().filter(|(of, _, _)| of == row).map(|(_, _, run)| run).collect(),
        };
        let systems: Vec<Seeds<'_>> = rows.iter().map(seeds).filter(|system| !system.runs.is_empty()).collect();
        let bootstrap = Bootstrap { seed: SEED, threads: cores() };
        let Found { scores, comparisons, first, notes: of_table } =
            scored(&systems, config.base.as_str(), Scope::Columns(&ablation::COLUMNS), bootstrap)?;
        let rows = rows.iter().map(|row| row.as_str().to_owned()).collect();
        tables.push(AblationTable { table: number, rows, scores, comparisons, first });
        notes.extend(of_table.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
    }
    let row = |row: Preset| AblatedRow {
        row: row.as_str().into(),
        runs: found
            .iter()
            .filter(|(of, _, _)| *of == row)
            .map(|(_, seed, run)| AblatedRun {
                seed: *seed,
                evaluation: run.run.clone(),
                controls: run.report.main_controls().cloned().collect(),
            })
            .collect(),
    };
    let report = AblateReport {
        version: env!("CARGO_PKG_VERSION").into(),
        configuration: hash.into(),
        base: config.base.as_str().into(),
        split: config.evaluate.split,
        seeds: config.seeds.clone(),
        share_pretrain: config.share_pretrain,
        rows: rows::all(config.base).into_iter().map(row).collect(),
        tables,
        notes,
    };
    for table in &report.tables {
        let name = format!("table{}", table.table);
        let both = [Some(ablation::scores(&report, table)), ablation::differences(&report, table)];
        let both: Vec<_> = both.into_iter().flatten().collect();
        let markdown: Vec<String> = both.iter().map(|table| table.markdown()).collect();
        let labels = [name.clone(), format!("{name}-differences")];
        let latex: Vec<String> = both.iter().zip(&labels).map(|(table, label)| table.latex(label)).collect();
        put_whole(&out.join(format!("{name}.md")), markdown.join("\n").as_bytes())?;
        put_whole(&out.join(format!("{name}.tex")), latex.join("\n").as_bytes())?;
    }
    put_whole(&out.join("ablate.md"), ablation::page(&report).as_bytes())?;
    write_json(&out.join("ablate.json"), &report)?;
    Ok(report)
}
