//! `init`: a look at one's own data, and from it a configuration with comments and a table to write texts into.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use med2e3_store::put_whole;

use crate::PrepareError;
use crate::config::{Columns, ManifestConfig, TextRules, TextTable};
use crate::manifest::{self, TableHead, volumes_below};
use crate::provenance::Provenance;
use crate::recognize::split_of;

/// The configuration's name.
const CONFIG: &str = "prepare.toml";
/// The name of the table to write texts into.
const TEMPLATE: &str = "texts.csv";

/// What was found and written.
#[derive(Debug)]
pub struct Started {
    /// The configuration.
    pub config: PathBuf,
    /// The table to write texts into, where there was none with texts.
    pub template: Option<PathBuf>,
    /// Volumes below the folder.
    pub volumes: usize,
    /// Tables with texts, relative to the folder, with the encoding that they were taken to have.
    pub tables: Vec<TextTable>,
    /// Tables of M3D-VQA, which have rules of their own.
    pub questions: Vec<PathBuf>,
    /// Tables whose columns are not known by their names, with what they are.
    pub unknown: BTreeMap<PathBuf, Vec<String>>,
}

/// Looks at the data below `path` and writes `prepare.toml` into the folder `out`, and `texts.csv` with a line a volume where no
/// table with texts is found.
///
/// # Errors
/// A path that is no folder; a folder without a volume; files that are there already; a folder that can't be written.
pub fn init(path: &Path, out: &Path) -> Result<Started, PrepareError> {
    let root = fs::canonicalize(path).map_err(PrepareError::file(path, "open"))?;
    if !root.is_dir() {
        let problem = "expected a folder with volumes".into();
        return Err(PrepareError::Request { what: path.display().to_string(), problem });
    }
    let mut volumes = Vec::new();
    // It ends where the tree does.
    let _ = volumes_below(&root, Path::new(""), |volume| {
        volumes.extend(volume.to_str().map(|name| if name.is_empty() { "." } else { name }.to_owned()));
        ControlFlow::Continue(())
    });
    if volumes.is_empty() {
        return Err(PrepareError::Nothing { path: path.to_owned(), found: "no volume was found below it".into() });
    }
    let mut started = Started {
        config: out.join(CONFIG),
        template: None,
        volumes: volumes.len(),
        tables: Vec::new(),
        questions: Vec::new(),
        unknown: BTreeMap::new(),
    };
    for file in table_files(&root) {
        started.look_at(&root, file);
    }
    fs::create_dir_all(out).map_err(PrepareError::file(out, "create"))?;
    let out = fs::canonicalize(out).map_err(PrepareError::file(out, "open"))?;
    let mut tables = started.tables.clone();
    if tables.is_empty() && started.questions.is_empty() {
        let template = out.join(TEMPLATE);
        refuse_existing(&template)?;
        let columns =
            Columns { volume: Some("volume".into()), ..Columns::of_header(&TEMPLATE_HEADER.map(str::to_owned)) };
        tables.push(TextTable { path: template.clone(), columns, ..TextTable::default() });
        started.template = Some(template);
    }
    refuse_existing(&started.config)?;
    let text = configuration(&root, &tables, &started);
    put_whole(&started.config, text.as_bytes())?;
    if let Some(template) = &started.template {
        put_whole(template, &template_of(&volumes))?;
    }
    Ok(started)
}

fn refuse_existing(path: &Path) -> Result<(), PrepareError> {
    if path.exists() {
        return Err(PrepareError::Output {
            path: path.to_owned(),
            problem: "is there already".into(),
            hint: "give another folder by --out, or remove it".into(),
        });
    }
    Ok(())
}

/// Columns of the table to write texts into.
const TEMPLATE_HEADER: [&str; 5] = ["volume", "report", "question", "answer", "split"];

/// A line a volume, with empty texts.
fn template_of(volumes: &[String]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |fields: [&str; 5]| writer.write_record(fields).expect("memory takes any row");
    write(TEMPLATE_HEADER);
    volumes.iter().for_each(|volume| write([volume, "", "", "", ""]));
    writer.into_inner().expect("memory is flushed")
}

/// Files that may be tables: in the folder, and in the folders directly below it.
fn table_files(root: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<PathBuf> = entries.map(|entry| folder.join(entry.file_name())).collect();
        names.sort();
        names
    };
    let top = list(Path::new(""));
    let below = top.iter().filter(|name| root.join(name).is_dir()).flat_map(|folder| list(folder));
    let is_table = |name: &PathBuf| {
        let ending = name.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        ["csv", "tsv", "tab", "jsonl", "ndjson", "json", "parquet", "pq"].contains(&ending.as_str())
            && root.join(name).is_file()
    };
    top.iter().cloned().chain(below).filter(is_table).collect()
}

impl Started {
    fn look_at(&mut self, root: &Path, file: PathBuf) {
        let mut table = TextTable { path: file.clone(), ..TextTable::default() };
        let suffix = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        // Bytes above 127 that are not UTF-8 are most often those of a German or French Excel.
        let is_text = !["parquet", "pq"].contains(&suffix.as_str());
        let is_latin = is_text && fs::read(root.join(&file)).is_ok_and(|bytes| is_western(&bytes));
        table.encoding = is_latin.then(|| "windows-1252".to_owned());
        let Ok(head) = TableHead::read(root, &table) else { return };
        match head.table() {
            _ if head.is_of_m3d_vqa() => self.questions.push(file),
            Ok(found) if head.has_known_columns() => self.tables.push(with_base(root, found)),
            // An object of JSON may be anything; rows of a table are for somebody to read.
            _ if suffix == "json" => {}
            _ => drop(self.unknown.insert(file, head.header().to_vec())),
        }
    }
}

/// The table with the folder that its paths are relative to: the data's, or its own where more volumes are found from there.
fn with_base(root: &Path, table: TextTable) -> TextTable {
    let own = table.path.parent().filter(|folder| !folder.as_os_str().is_empty() && table.columns.volume.is_some());
    let Some(own) = own else { return table };
    let found = |table: &TextTable| {
        let config = ManifestConfig { table: vec![table.clone()], ..ManifestConfig::default() };
        let manifest = manifest::read(root, &config, &TextRules::default(), &Provenance::Keep);
        manifest.map_or(0, |manifest| manifest.volumes.len())
    };
    let beside = TextTable { base: own.to_owned(), ..table.clone() };
    if found(&beside) > found(&table) { beside } else { table }
}

/// Whether bytes are no UTF-8, and nothing but text in an encoding of western Europe.
fn is_western(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 0x0e..=0x1f | 0x7f | 0x81 | 0x8d | 0x8f | 0x90 | 0x9d);
    std::str::from_utf8(bytes).is_err() && !bytes.starts_with(&[0xff, 0xfe]) && !bytes.iter().any(is_control)
}

/// The configuration, with comments.
fn configuration(root: &Path, tables: &[TextTable], started: &Started) -> String {
    let mut text = String::new();
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line("# One file, one run: med2e3-data prepare prepare.toml --out dataset");
    line("# What is left out has a default; `med2e3-data config schema prepare` lists every key.");
    line("");
    line("# The folder that all paths below are relative to.");
    line(&format!("root = {}", quoted(&root.to_string_lossy())));
    line("");
    line("[manifest]");
    line(&format!("# Every volume below these folders: {} were found.", started.volumes));
    line("folders = [\"\"]");
    line(
        "# Which part of a path is the patient, where neither a table nor the files state it. A dataset is split by patients.",
    );
    line("# case = \"^(?P<case>[^/]+)/\"");
    if !started.questions.is_empty() {
        line("# Tables in M3D-VQA's form.");
        line("questions = [");
        for path in &started.questions {
            let split = split_of(path);
            line(&format!("    {{ path = {}, split = \"{split}\" }},", quoted(&path.to_string_lossy())));
        }
        line("]");
    }
    for table in tables {
        line("");
        line("[[manifest.table]]");
        line(&format!("path = {}", quoted(&table.path.to_string_lossy())));
        line(
            "# Columns by their names: volume, series, accession, case; caption (or report), question, answer, choices,",
        );
        line("# answer_choice, topic, split, id.");
        let columns = table.columns.stated();
        let single = columns.iter().filter(|(key, _)| *key != "choices");
        let mut columns: Vec<String> = single.map(|(key, name)| format!("{key} = {}", quoted(name))).collect();
        if let Some(choices) = &table.columns.choices {
            let value = toml::Value::try_from(choices).expect("names are texts");
            columns.push(format!("choices = {value}"));
        }
        line(&format!("columns = {{ {} }}", columns.join(", ")));
        match &table.encoding {
            Some(encoding) => line(&format!("# Its bytes are no UTF-8.\nencoding = {}", quoted(encoding))),
            None => line("# encoding = \"windows-1252\"   # UTF-8 where it is not stated"),
        }
        match table.base.as_os_str().is_empty() {
            false => line(&format!("base = {}", quoted(&table.base.to_string_lossy()))),
            true => line("# base = \"images\"             # the folder that the volumes' paths are relative to"),
        }
    }
    for (path, header) in &started.unknown {
        line("");
        line(&format!("# Columns of this table that are not known by their names: {}", first_of(header)));
        line("# [[manifest.table]]");
        line(&format!("# path = {}", quoted(&path.to_string_lossy())));
        line("# columns = { volume = \"..\", report = \"..\" }");
    }
    line("");
    line("# [volume]                       # recipe ct at 32x256x256, in Hounsfield units from -1000 to 1000, as i16");
    line("# recipe = { ct = { intensity = { window = \"lung\" } } }");
    line("");
    line("# [text]");
    line(
        "# tokenizer = { path = \"/models/phi3/tokenizer.json\" }   # the language model's own; else one is trained on the texts",
    );
    line("# scrub = \"built_in\"             # replaces dates, names, numbers that may tell who a patient is");
    line("");
    line("[provenance]");
    line(
        "# No path and no name is in the dataset: they are in DATASET.provenance beside it. \"keep\" is for public data.",
    );
    line("paths = \"hash\"");
    text
}

/// Names of columns that are shown.
const NAMES_SHOWN: usize = 8;

/// The first names of a header, of which none takes a line of its own.
fn first_of(header: &[String]) -> String {
    let shown =
        header.iter().take(NAMES_SHOWN).map(|name| name.chars().take(40).collect::<String>().replace('\n', " "));
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if header.len() > NAMES_SHOWN {
        shown += &format!(" and {} more", header.len() - NAMES_SHOWN);
    }
    shown
}

/// The lines for the person who asked.
pub fn summary(started: &Started) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes any text");
    line(format!("{} volumes found", started.volumes));
    for table in &started.tables {
        let columns: Vec<String> = table.columns.stated().iter().map(|(key, name)| format!("{key}: {name}")).collect();
        let encoding = table.encoding.as_ref().map(|name| format!(", taken for {name}")).unwrap_or_default();
        line(format!("{}: a table of texts ({}){encoding}", table.path.display(), columns.join(", ")));
    }
    for path in &started.questions {
        line(format!("{}: a table in M3D-VQA's form", path.display()));
    }
    for (path, header) in &started.unknown {
        line(format!("{}: a table whose columns are not known by their names: {}", path.display(), first_of(header)));
    }
    line(format!("wrote {}", started.config.display()));
    if let Some(template) = &started.template {
        line(format!(
            "wrote {}: one line a volume; write texts into it, and copy a line for a further text",
            template.display()
        ));
    }
    line(format!("next: look at it, then med2e3-data prepare {} --out dataset --dry-run", started.config.display()));
    text
}
