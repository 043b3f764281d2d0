//! What the TOML file of a run may say. One file is one complete run; an unknown key is an error.

// By its path, since the fuzz targets compile this file from another folder.
#[path = "config/table.rs"]
mod table;

use std::fs;
use std::path::PathBuf;

use med2e3_input::InputError;
use med2e3_input::inputs::deep_pictures_word;
use med2e3_input::recipe::{CtRecipe, Intensity, M3D_SHAPE_DHW};
use med2e3_input::text::{CaptionPrompts, Scrubber, Template};
use med2e3_input::volume::DeepPictures;
use med2e3_input::window::{Window, WindowPreset};
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::config::{also_accepts, depends_on_data};
use med2e3_schemas::inputs::{VolumeInputs, VolumeRecipe};
use med2e3_schemas::sample::{Split, Task};
use med2e3_schemas::volume::{MAX_CELL_BYTES, VoxelCode, VoxelFormat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PrepareError;
use crate::provenance::Paths;
pub use table::{ChoiceColumns, Columns, TableFormat, TextTable};

/// Most rows of one shard, which are in memory together.
const MOST_PER_RANGE: usize = 1 << 24;
/// Longest sequence; no language model reads as much.
const MOST_POSITIONS: usize = 1 << 28;
/// Most entries of a tokenizer that is trained, as of one that is read.
const MOST_ENTRIES: usize = 1 << 20;
/// Longest text of a field: what a tokenizer takes at once.
const MOST_FIELD_KIB: usize = 4096;
/// Largest JSON file: 64 GiB.
const MOST_JSON_MIB: usize = 1 << 16;
/// Largest decoded input: 1 TiB.
const MOST_DECODED_MIB: usize = 1 << 20;

/// A size in MiB where the machine can count it.
fn mib(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// `med2e3-data prepare`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareConfig {
    /// Folder that the manifest's paths are relative to.
    #[serde(default = "here")]
    pub root: PathBuf,
    /// Where rows come from; every volume below the root where nothing is named.
    #[serde(default)]
    pub manifest: ManifestConfig,
    /// What is done to volumes.
    #[serde(default)]
    pub volume: VolumeConfig,
    /// What is done to texts.
    #[serde(default)]
    pub text: TextConfig,
    /// How the work is cut and shared.
    #[serde(default)]
    pub engine: EngineConfig,
    /// When to give up.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What the dataset may say about paths.
    #[serde(default)]
    pub provenance: ProvenanceConfig,
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

impl PrepareConfig {
    /// Whether every number is one that can be worked with, and every file that the run needs is there.
    ///
    /// # Errors
    /// The first key whose value is out of range, the first file that is missing.
    pub fn check(&self) -> Result<(), PrepareError> {
        for file in self.manifest.files().chain(&self.manifest.folders) {
            let path = self.root.join(file);
            fs::metadata(&path).map_err(PrepareError::file(&path, "open"))?;
        }
        if let TokenizerConfig::Path(path) = &self.text.tokenizer
            && !path.exists()
        {
            return Err(InputError::TokenizerMissing { path: path.clone() }.into());
        }
        let fail = |key: &str, expected: &str, found: String| {
            Err(PrepareError::Config { key: key.into(), expected: expected.into(), found })
        };
        let engine = &self.engine;
        let train = if let TokenizerConfig::Train(entries) = self.text.tokenizer { entries } else { 1 };
        for (key, found, most) in [
            ("engine.volumes_per_range", engine.volumes_per_range, MOST_PER_RANGE),
            ("engine.texts_per_range", engine.texts_per_range, MOST_PER_RANGE),
            ("text.length", self.text.length, MOST_POSITIONS),
            ("text.visual_tokens", self.text.visual_tokens.max(1), MOST_POSITIONS),
            ("text.tokenizer.train", train, MOST_ENTRIES),
            ("manifest.limits.field_kib", self.manifest.limits.field_kib, MOST_FIELD_KIB),
            ("manifest.limits.json_mib", mib(self.manifest.limits.json_mib), MOST_JSON_MIB),
            ("volume.max_decoded_mib", mib(self.volume.max_decoded_mib), MOST_DECODED_MIB),
        ] {
            if !(1..=most).contains(&found) {
                return fail(key, &format!("1 to {most}"), found.to_string());
            }
        }
        if !(0.0..=100.0).contains(&self.limits.reject_percent) {
            return fail("limits.reject_percent", "0 to 100", self.limits.reject_percent.to_string());
        }
        let shape = self.volume.shape;
        let voxels = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        let bytes = voxels.and_then(|voxels| voxels.checked_mul(self.volume.voxels.width()));
        if !bytes.is_some_and(|bytes| (1..=MAX_CELL_BYTES).contains(&bytes)) {
            let [d, h, w] = shape;
            let size = bytes.map_or("too many bytes to count".into(), |bytes| format!("{bytes} bytes"));
            let found = format!("[{d}, {h}, {w}] as {}, {size}", self.volume.voxels.as_str());
            let expected = format!(
                "three numbers above 0 whose cell takes at most {MAX_CELL_BYTES} bytes, the most that pyarrow opens"
            );
            return fail("volume.shape", &expected, found);
        }
        if self.volume.voxels == VoxelCode::U8 && !self.volume.format().is_unit_range() {
            return fail("volume.voxels", "i16 or f32 for Hounsfield units", "u8".into());
        }
        if self.text.length <= self.text.visual_tokens {
            let found = format!("{} with {} visual tokens", self.text.length, self.text.visual_tokens);
            return fail("text.length", "more than text.visual_tokens", found);
        }
        Ok(())
    }
}

/// Manifest files, relative to the root.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestConfig {
    /// Files like M3D_Cap.json.
    #[serde(default)]
    pub captions: Vec<PathBuf>,
    /// Files like M3D_VQA_train.csv.
    #[serde(default)]
    pub questions: Vec<QuestionFile>,
    /// Folders of volumes without texts, or single volumes.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
    /// Files like M3D_VQA_yn_train.csv: training rows with open questions only. None unless named.
    #[serde(default)]
    pub yes_no: Vec<PathBuf>,
    /// Files of conversations. None unless named.
    #[serde(default)]
    pub conversations: Vec<ConversationFile>,
    /// Whether choices and answers that pandas takes for missing, such as `NA` and `None`, become the text `nan`, as in
    /// M3D's prompts.
    #[serde(default)]
    pub nan_as_pandas: bool,
    /// Tables of texts with columns of one's own. None unless named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub table: Vec<TextTable>,
    /// A regular expression whose group `case` is the case in a volume's path from the data root, for volumes of which neither a
    /// table nor their files state it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// How much of a manifest is read at once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: ManifestLimits,
}

/// How much of a manifest is read at once. What is longer is set aside or refused by name, and is never held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ManifestLimits {
    /// Longest text of one field of a row, or of one report, in KiB, 1 to 4096. A row may have four times as much.
    #[schemars(range(min = 1, max = MOST_FIELD_KIB))]
    pub field_kib: usize,
    /// Largest JSON file, which is read as a whole, in MiB, 1 to 65536.
    #[schemars(range(min = 1, max = MOST_JSON_MIB))]
    pub json_mib: u64,
}

impl Default for ManifestLimits {
    /// 1 MiB of text, a hundred times a long report; 2 GiB of JSON, some millions of conversations.
    fn default() -> ManifestLimits {
        ManifestLimits { field_kib: 1024, json_mib: 2048 }
    }
}

impl ManifestLimits {
    /// Longest text of one field or report, in bytes.
    pub fn field_bytes(&self) -> usize {
        self.field_kib.saturating_mul(1 << 10)
    }

    /// Largest JSON file, in bytes.
    pub fn json_bytes(&self) -> u64 {
        self.json_mib.saturating_mul(1 << 20)
    }
}

impl ManifestConfig {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty() && self.table.is_empty() && self.is_volumes_alone()
    }

    /// Every file with texts, relative to the root.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let questions = self.questions.iter().map(|file| &file.path).chain(&self.yes_no);
        let conversations = self.conversations.iter().map(|file| &file.path);
        let tables = self.table.iter().map(|table| &table.path);
        self.captions.iter().chain(questions).chain(conversations).chain(tables)
    }

    /// Whether no file with texts is named.
    pub fn is_volumes_alone(&self) -> bool {
        self.captions.is_empty()
            && self.questions.is_empty()
            && self.yes_no.is_empty()
            && self.conversations.is_empty()
            && self.table.iter().all(|table| table.columns != Columns::default() && !table.columns.hold_texts())
    }
}

/// A file of conversations in Med-2E3's form.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationFile {
    /// The file, relative to the root.
    pub path: PathBuf,
    /// Its split.
    pub split: Split,
    /// Folder, relative to the root, that the file's volume paths are relative to; the root where it is absent. With
    /// `M3D_Cap_npy` the volumes are those that M3D's own manifests name.
    #[serde(default)]
    pub folder: Option<String>,
    /// What every row asks for; where it is absent each row's own fields decide.
    #[serde(default)]
    pub task: Option<Task>,
}

/// One M3D-VQA CSV file and its split.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuestionFile {
    /// The file, relative to the root.
    pub path: PathBuf,
    /// Its split.
    pub split: Split,
}

/// Named preparations of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// M3D's official preparation: min-max, foreground crop, trilinear resize.
    M3d,
    /// The user's own CTs in Hounsfield units: `{ ct = { intensity = { window = "wide" } } }`. Its shape is `volume.shape`.
    Ct(CtRecipe),
}

impl Recipe {
    /// The recipe's word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Recipe::M3d => "m3d",
            Recipe::Ct(_) => "ct",
        }
    }

    /// Recipe `ct` with the window from -1000 to 1000 HU.
    pub fn ct() -> Recipe {
        Recipe::Ct(CtRecipe { intensity: Intensity::Window(Window::Preset(WindowPreset::Wide)), ..CtRecipe::default() })
    }
}

/// What is done to volumes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = |schema: &mut schemars::Schema| depends_on_data(schema, &["recipe", "voxels"]))]
pub struct VolumeConfig {
    /// The preparation. Left out, it is `m3d` for M3D's own data and for pictures and arrays, which have no Hounsfield units; for
    /// all other data `ct` with the window from -1000 to 1000 HU.
    pub recipe: Recipe,
    /// Slices, rows, columns.
    pub shape: [usize; 3],
    /// How voxels are stored. Left out, `u8` for recipe `m3d`, `i16` for recipe `ct`.
    pub voxels: VoxelCode,
    /// How voxels are compressed: `zstd1` is the smallest, `lz4` decodes faster, `none` is read as it is. The values are the same.
    #[serde(default, skip_serializing_if = "is_default")]
    pub codec: VoxelCodec,
    /// Largest decoded input, in MiB. A reading takes as much memory, the bytes of its file, and 216 MiB at most; each thread
    /// reads one.
    #[schemars(range(min = 1, max = MOST_DECODED_MIB))]
    pub max_decoded_mib: u64,
    /// What becomes of slices of 16-bit grey: `clip`, as in the official preparation, or `range`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deep_pictures: DeepPictures,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for VolumeConfig {
    /// M3D's preparation at M3D's shape, as 8-bit codes.
    fn default() -> VolumeConfig {
        VolumeConfig {
            recipe: Recipe::M3d,
            shape: M3D_SHAPE_DHW,
            voxels: VoxelCode::U8,
            codec: VoxelCodec::Zstd1,
            max_decoded_mib: 4096,
            deep_pictures: DeepPictures::Clip,
        }
    }
}

impl VolumeConfig {
    /// How volumes are made, with every number.
    pub fn inputs(&self) -> VolumeInputs {
        VolumeInputs {
            recipe: match &self.recipe {
                Recipe::M3d => VolumeRecipe::M3d,
                Recipe::Ct(recipe) => recipe.into(),
            },
            voxels: self.format(),
            deep_pictures: deep_pictures_word(self.deep_pictures).into(),
        }
    }

    /// How the recipe's voxels are stored.
    pub fn format(&self) -> VoxelFormat {
        match self.recipe {
            Recipe::Ct(CtRecipe { intensity: Intensity::None, .. }) => VoxelFormat::hounsfield(self.shape, self.voxels),
            Recipe::M3d | Recipe::Ct(_) => VoxelFormat::unit_range(self.shape, self.voxels),
        }
    }
}

/// What is done to texts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// How instruction and answer are laid out.
    pub template: Template,
    /// Where the tokenizer comes from.
    pub tokenizer: TokenizerConfig,
    /// Longest sequence, visual tokens included.
    #[schemars(range(min = 1, max = MOST_POSITIONS))]
    pub length: usize,
    /// Positions that a volume takes in it.
    #[schemars(range(max = MOST_POSITIONS))]
    pub visual_tokens: usize,
    /// Whether a text that is cut keeps its end token; the released code loses it.
    #[serde(default)]
    pub keep_end: bool,
    /// A UTF-8 file of caption instructions, one a line; a line that is there twice counts double. The built-in ones
    /// where it is absent.
    #[serde(default)]
    pub caption_prompts: Option<PathBuf>,
    /// Whether what may tell who a patient is, in texts, is replaced by marks such as `[DATE]`, and by which rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrub>,
    /// A `tokenizer.json` of BERT's kind for the questions; `question_ids_bert` is null where it is absent.
    #[serde(default)]
    pub question_tokenizer: Option<PathBuf>,
}

impl Default for TextConfig {
    /// The paper's sequence of 768 positions, 512 of them visual tokens, in Phi-3's template; a tokenizer trained on the texts.
    fn default() -> TextConfig {
        TextConfig {
            template: Template::Phi,
            tokenizer: TokenizerConfig::Train(8192),
            length: 768,
            visual_tokens: 512,
            keep_end: false,
            caption_prompts: None,
            scrub: None,
            question_tokenizer: None,
        }
    }
}

impl TextConfig {
    /// The instructions that captions are asked for with.
    ///
    /// # Errors
    /// A file that can't be read or holds none.
    pub fn prompts(&self) -> Result<CaptionPrompts, PrepareError> {
        Ok(self.caption_prompts.as_deref().map(CaptionPrompts::load).transpose()?.unwrap_or_default())
    }

    /// What is done to texts while a manifest is read.
    ///
    /// # Errors
    /// A file of prompts or of rules that can't be read or holds none.
    pub fn rules(&self) -> Result<TextRules, PrepareError> {
        let scrubber = match &self.scrub {
            None => None,
            Some(Scrub::BuiltIn) => Some(Scrubber::built_in()),
            Some(Scrub::File(path)) => Some(Scrubber::load(path)?),
        };
        Ok(TextRules { prompts: self.prompts()?, scrubber })
    }

    /// Every file that the texts depend on, besides the manifest's.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let tokenizer = if let TokenizerConfig::Path(path) = &self.tokenizer { Some(path) } else { None };
        let rules = if let Some(Scrub::File(path)) = &self.scrub { Some(path) } else { None };
        tokenizer.into_iter().chain(rules).chain(&self.caption_prompts).chain(&self.question_tokenizer)
    }
}

/// By which rules texts are scrubbed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scrub {
    /// This project's: dates, names after words such as `Patient`, phone numbers, identifiers.
    BuiltIn,
    /// A file's.
    File(PathBuf),
}

/// What is done to texts while a manifest is read.
#[derive(Clone, Debug, Default)]
pub struct TextRules {
    /// Instructions of captions.
    pub prompts: CaptionPrompts,
    /// What replaces identities in texts; without it they are counted where names are withheld.
    pub scrubber: Option<Scrubber>,
}

/// Where the tokenizer comes from.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerConfig {
    /// A `tokenizer.json` as HF tokenizers writes it.
    Path(PathBuf),
    /// A byte-level BPE of this many entries, trained on the training split's texts.
    Train(#[schemars(range(min = 1, max = MOST_ENTRIES))] usize),
}

/// How the work is cut and shared.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Manifest rows of one volume shard.
    #[schemars(range(min = 1, max = MOST_PER_RANGE))]
    pub volumes_per_range: usize,
    /// Manifest rows of one sample shard.
    #[schemars(range(min = 1, max = MOST_PER_RANGE))]
    pub texts_per_range: usize,
    /// How hard a restarted run looks for inputs that changed.
    #[serde(default)]
    pub check_inputs: CheckInputs,
}

/// How hard a run looks for inputs that changed since they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckInputs {
    /// Size and time of the path that the manifest names.
    #[default]
    Quick,
    /// A hash of every file. An input whose last reading was checked quickly only is read again.
    Full,
}

impl Default for EngineConfig {
    /// One thread for each core; shards of 128 volumes and of 4,096 texts.
    fn default() -> EngineConfig {
        EngineConfig { threads: 0, volumes_per_range: 128, texts_per_range: 4096, check_inputs: CheckInputs::Quick }
    }
}

/// What the dataset may say about paths.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = |schema: &mut schemars::Schema| depends_on_data(schema, &["paths"]))]
pub struct ProvenanceConfig {
    /// Kept, or only hashes of them. Left out, `keep` for M3D's own data, `hash` for all other.
    pub paths: Paths,
}

/// When to give up: beyond both limits.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Rows that may be set aside whatever their share.
    pub reject_rows: u64,
    /// Share of rows that may be set aside whatever their number, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub reject_percent: f64,
}

impl Default for LimitsConfig {
    /// A run fails when more than 20 rows and more than 1 % of them are set aside.
    fn default() -> LimitsConfig {
        LimitsConfig { reject_rows: 20, reject_percent: 1.0 }
    }
}

/// `med2e3-data sample`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleConfig {
    /// The subset's name: `subsets/NAME.parquet`.
    pub name: String,
    /// Seed of the draw.
    pub seed: u64,
    /// The split to draw from.
    pub split: Split,
    /// Column to spread each task's draw evenly over: `topic`, or `case` (`case_id`).
    pub stratify: Option<Stratum>,
    /// Column whose values are drawn whole, so that no case is torn apart; not together with `stratify`.
    #[serde(default)]
    pub group_by: Option<Stratum>,
    /// How many samples of each task; with `group_by` at most so many.
    pub counts: Vec<TaskCount>,
}

/// A column to spread a draw over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = |schema: &mut schemars::Schema| also_accepts(schema, &["case"]))]
pub enum Stratum {
    /// Question types.
    Topic,
    /// Cases; `case` is the same word.
    #[serde(alias = "case")]
    CaseId,
}

/// How many samples of a task.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskCount {
    /// The task.
    pub task: Task,
    /// Samples; fewer existing ones are an error.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use med2e3_schemas::config::parse;

    #[test]
    fn every_configuration_of_the_project_parses() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let files = |folder: &str| {
            let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            entries.collect::<Vec<_>>()
        };
        for path in files("prepare").into_iter().chain([root.join("demo/prepare.toml")]) {
            parse::<PrepareConfig>(&path.display().to_string(), &text(&path), &[]).unwrap();
        }
        for path in files("sample").into_iter().chain([root.join("demo/sample.toml")]) {
            parse::<SampleConfig>(&path.display().to_string(), &text(&path), &[]).unwrap();
        }
    }

    #[test]
    fn a_configuration_is_written_back_unchanged() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let text = fs::read_to_string(root.join("prepare/m3d.toml")).unwrap();
        let all = [
            r#"manifest.yes_no=["yn.csv"]"#,
            r#"manifest.conversations=[{path="a.json",split="test",folder="npys",task="caption"}]"#,
            "manifest.nan_as_pandas=true",
            "text.keep_end=true",
            r#"text.caption_prompts="prompts.txt""#,
            r#"text.question_tokenizer="bert/tokenizer.json""#,
        ];
        for overrides in [Vec::new(), all.map(str::to_owned).to_vec()] {
            let config: PrepareConfig = parse("m3d.toml", &text, &overrides).unwrap();
            let written = toml::to_string(&config).unwrap();
            let again: PrepareConfig = parse("written", &written, &[]).unwrap();
            assert_eq!(toml::to_string(&again).unwrap(), written);
        }
    }
}
