//! `model.train`: what of a model learns, and how, as a configuration states it.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::TrainerError;
use crate::fit::expect;
use crate::model::Part;
use crate::model::piece::{How, Piece, Tuning, Tunings};

/// What learns: a list of parts, or how each part is trained.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TrainedParts {
    /// Each of these parts whole, the language model by its adapters alone where it has any.
    Parts(Vec<Part>),
    /// How each is trained; what is not named stays as it is.
    Table(Box<PartTable>),
}

/// How each part is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartTable {
    /// The language model, whole or in pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmParts>,
    /// The 2D encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision2d_model: Option<HowOrTuning>,
    /// The 2D connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision2d_connector: Option<HowOrTuning>,
    /// The 3D encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision3d_model: Option<HowOrTuning>,
    /// The 3D connector, and the scorer's weights where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision3d_connector: Option<HowOrTuning>,
}

/// How the language model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LlmParts {
    /// All of it; by `lora` its adapters alone.
    How(How),
    /// All of it with a rate or a decay of its own, or its pieces.
    Table(LlmTable),
}

/// The language model as a whole (`how`), or in pieces (`blocks`, `embeddings`, `head`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmTable {
    /// How all of it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<How>,
    /// The peak learning rate of all of it, in place of the run's; beside `how`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub learning_rate: Option<f64>,
    /// The weight decay of all of it, in place of the run's; beside `how`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub weight_decay: Option<f64>,
    /// Its blocks and the norm after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<HowOrTuning>,
    /// Its input embeddings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<HowOrTuning>,
    /// Its output matrix; as the embeddings where both are one table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HowOrTuning>,
}

/// How a piece is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum HowOrTuning {
    /// With the run's rate and decay.
    How(How),
    /// With a rate or a decay of its own.
    Tuning(Tuning),
}

/// The language model, as far as `model.train` depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LlmKind {
    /// It has adapters, or gets them.
    pub(crate) has_adapters: bool,
    /// Its embeddings are its output matrix.
    pub(crate) is_tied: bool,
}

impl TrainedParts {
    /// How each piece is trained.
    ///
    /// # Errors
    /// Keys that contradict each other or the language model; nothing is trained.
    pub(crate) fn tunings(&self, llm: LlmKind) -> Result<Tunings, TrainerError> {
        let tunings = match self {
            TrainedParts::Parts(parts) => of_parts(parts, llm),
            TrainedParts::Table(table) => of_table(table, llm)?,
        };
        let learns = tunings.learning().next().is_some();
        expect("model.train", learns, "one part or more that learns".into(), "none".into())?;
        Ok(tunings)
    }

    /// Whether the language model's adapters are asked for: by name, or by a list with `llm` in it.
    pub(crate) fn asks_for_adapters(&self) -> bool {
        match self {
            TrainedParts::Parts(parts) => parts.contains(&Part::Llm),
            TrainedParts::Table(table) => match &table.llm {
                Some(LlmParts::How(how)) => *how == How::Lora,
                Some(LlmParts::Table(llm)) => {
                    llm.how == Some(How::Lora) || llm.blocks.is_some_and(|blocks| blocks.tuning().how == How::Lora)
                }
                None => false,
            },
        }
    }

    /// Checks what does not depend on the model.
    ///
    /// # Errors
    /// Nothing is named, or a number that is out of range.
    pub(crate) fn check(&self, peak: f64) -> Result<(), TrainerError> {
        let table = match self {
            TrainedParts::Parts(parts) => {
                return expect("model.train", !parts.is_empty(), "one part or more".into(), "none".into());
            }
            TrainedParts::Table(table) => table,
        };
        let pieces = stated_pieces(table);
        let whole = match &table.llm {
            Some(LlmParts::Table(LlmTable { how, learning_rate, weight_decay, .. })) => {
                let (how, learning_rate, weight_decay) = (how.unwrap_or_default(), *learning_rate, *weight_decay);
                Some(("llm", Tuning { how, learning_rate, weight_decay }))
            }
            _ => None,
        };
        for (piece, tuning) in pieces.into_iter().map(|(piece, tuning)| (piece.name(), tuning)).chain(whole) {
            for (key, number) in [("learning_rate", tuning.learning_rate), ("weight_decay", tuning.weight_decay)] {
                let Some(number) = number else { continue };
                let key = format!("model.train.{piece}.{key}");
                let fits = (0.0..f64::INFINITY).contains(&number);
                expect(&key, fits, "a number, 0 or more".into(), number.to_string())?;
                let expected = "how = \"full\" or \"lora\" beside it".into();
                expect(&key, tuning.how != How::Frozen, expected, "nothing that learns".into())?;
            }
            // A step's rate is a share of the peak, and so is that of a piece with an own one.
            if let Some(rate) = tuning.learning_rate {
                let expected = format!("above 0, since model.train.{piece} has a rate of its own, {rate}");
                expect("optimizer.learning_rate", peak > 0.0, expected, peak.to_string())?;
            }
        }
        Ok(())
    }
}

impl HowOrTuning {
    fn tuning(self) -> Tuning {
        match self {
            HowOrTuning::How(how) => Tuning::of(how),
            HowOrTuning::Tuning(tuning) => tuning,
        }
    }
}

fn of_parts(parts: &[Part], llm: LlmKind) -> Tunings {
    let mut tunings = Tunings::default();
    for piece in parts.iter().flat_map(|part| Piece::of_part(*part)) {
        match piece {
            Piece::LlmBlocks if llm.has_adapters => tunings.set(piece, Tuning::of(How::Lora)),
            Piece::LlmEmbeddings | Piece::LlmHead if llm.has_adapters => {}
            _ => tunings.set(piece, Tuning::of(How::Full)),
        }
    }
    tunings
}

/// The pieces that have a key of their own.
fn stated_pieces(table: &PartTable) -> Vec<(Piece, Tuning)> {
    let llm = match &table.llm {
        Some(LlmParts::Table(llm)) => llm.clone(),
        _ => LlmTable::default(),
    };
    let stated = [
        (Piece::LlmBlocks, llm.blocks),
        (Piece::LlmEmbeddings, llm.embeddings),
        (Piece::LlmHead, llm.head),
        (Piece::Vision2dModel, table.vision2d_model),
        (Piece::Vision2dConnector, table.vision2d_connector),
        (Piece::Vision3dModel, table.vision3d_model),
        (Piece::Vision3dConnector, table.vision3d_connector),
    ];
    stated.into_iter().filter_map(|(piece, tuning)| Some((piece, tuning?.tuning()))).collect()
}

fn of_table(table: &PartTable, llm: LlmKind) -> Result<Tunings, TrainerError> {
    let mut tunings = Tunings::default();
    let stated = stated_pieces(table);
    if let Some(whole) = whole_llm(table)? {
        for piece in Piece::of_part(Part::Llm) {
            // Only maps of the blocks have adapters; where those alone learn, the tables stay.
            let rests = whole.how == How::Lora && piece != Piece::LlmBlocks;
            tunings.set(piece, if rests { Tuning::default() } else { whole });
        }
    }
    for (piece, tuning) in stated {
        let has_none = "full or frozen; only the blocks of the language model have adapters".to_owned();
        let fits = tuning.how != How::Lora || piece == Piece::LlmBlocks;
        expect(&format!("model.train.{piece}"), fits, has_none, "lora".into())?;
        tunings.set(piece, tuning);
    }
    let blocks = tunings.of(Piece::LlmBlocks).how;
    let key = "model.train.llm.blocks";
    let expected = "frozen or full, or adapters: model.lora, or a start that has them".to_owned();
    expect(key, llm.has_adapters || blocks != How::Lora, expected, "lora without adapters".into())?;
    let expected = "lora or frozen, since the language model has adapters".to_owned();
    expect(key, !llm.has_adapters || blocks != How::Full, expected, "full".into())?;
    if llm.is_tied {
        tie(&mut tunings)?;
    }
    Ok(tunings)
}

/// How the language model is trained as a whole, where the table says so.
fn whole_llm(table: &PartTable) -> Result<Option<Tuning>, TrainerError> {
    let llm = match &table.llm {
        None => return Ok(None),
        Some(LlmParts::How(how)) => return Ok(Some(Tuning::of(*how))),
        Some(LlmParts::Table(llm)) => llm,
    };
    let has_pieces = [llm.blocks, llm.embeddings, llm.head].iter().any(Option::is_some);
    let expected = "how, or blocks, embeddings and head".to_owned();
    expect("model.train.llm", !(llm.how.is_some() && has_pieces), expected, "both".into())?;
    let (learning_rate, weight_decay) = (llm.learning_rate, llm.weight_decay);
    Ok(llm.how.map(|how| Tuning { how, learning_rate, weight_decay }))
}

/// One table for both is trained in one way: that of the embeddings, or of the head where it alone is named.
fn tie(tunings: &mut Tunings) -> Result<(), TrainerError> {
    let (embeddings, head) = (tunings.get(Piece::LlmEmbeddings), tunings.get(Piece::LlmHead));
    let (Some(stated), Some(other)) = (embeddings.or(head), head.or(embeddings)) else { return Ok(()) };
    let expected = "as llm.embeddings, since the model has one table for both".to_owned();
    expect("model.train.llm.head", stated == other, expected, "another way".into())?;
    tunings.set(Piece::LlmEmbeddings, stated);
    tunings.set(Piece::LlmHead, stated);
    Ok(())
}

/// A word or a list, or a table. Serde's `untagged` would name neither the unknown key nor the valid names.
fn word_or_table<'de, W, T, R, D>(deserializer: D, expected: &'static str) -> Result<R, D::Error>
where
    W: Deserialize<'de> + Into<R>,
    T: Deserialize<'de> + Into<R>,
    D: Deserializer<'de>,
{
    struct WordOrTable<W, T, R>(&'static str, PhantomData<(W, T, R)>);

    impl<'de, W, T, R> Visitor<'de> for WordOrTable<W, T, R>
    where
        W: Deserialize<'de> + Into<R>,
        T: Deserialize<'de> + Into<R>,
    {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<R, E> {
            W::deserialize(StrDeserializer::new(word)).map(Into::into)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<R, A::Error> {
            W::deserialize(SeqAccessDeserializer::new(list)).map(Into::into)
        }

        fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<R, A::Error> {
            T::deserialize(MapAccessDeserializer::new(table)).map(Into::into)
        }
    }
    deserializer.deserialize_any(WordOrTable::<W, T, R>(expected, PhantomData))
}

/// Reads an enum of a word (or list) and a table.
macro_rules! word_or_table {
    ($name:ident: $word:ident($of_word:ty), $table:ident($of_table:ty), $wrap:expr, $expected:literal) => {
        impl From<$of_word> for $name {
            fn from(word: $of_word) -> $name {
                $name::$word(word)
            }
        }

        impl From<$of_table> for $name {
            fn from(table: $of_table) -> $name {
                $name::$table($wrap(table))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                word_or_table::<$of_word, $of_table, $name, D>(deserializer, $expected)
            }
        }
    };
}

word_or_table!(TrainedParts: Parts(Vec<Part>), Table(PartTable), Box::new, "a list of parts, or a table of them");
word_or_table!(LlmParts: How(How), Table(LlmTable), std::convert::identity, "frozen, full or lora, or a table");
word_or_table!(HowOrTuning: How(How), Tuning(Tuning), std::convert::identity, "frozen, full or lora, or a table");

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::config::parse;

    #[derive(Debug, Deserialize, Serialize)]
    struct Model {
        train: TrainedParts,
    }

    const PLAIN: LlmKind = LlmKind { has_adapters: false, is_tied: false };
    const ADAPTED: LlmKind = LlmKind { has_adapters: true, is_tied: false };
    const TIED: LlmKind = LlmKind { has_adapters: false, is_tied: true };

    fn read(train: &str) -> Result<TrainedParts, String> {
        let text = format!("[train]\n{train}");
        let model: Model = parse("run.toml", &text, &[]).map_err(|error| error.to_string())?;
        let written: Model = parse("run.toml", &toml::to_string(&model).unwrap(), &[]).unwrap();
        assert_eq!(model.train, written.train);
        model.train.check(1e-4).map_err(|error| error.to_string())?;
        Ok(model.train)
    }

    fn tunings(train: &str, llm: LlmKind) -> Result<Tunings, String> {
        read(train)?.tunings(llm).map_err(|error| error.to_string())
    }

    /// How each piece is trained, in their order.
    fn hows(train: &str, llm: LlmKind) -> Vec<&'static str> {
        use crate::words::Word;
        let tunings = tunings(train, llm).unwrap();
        Piece::ALL.map(|piece| tunings.of(piece).how.as_str()).to_vec()
    }

    #[test]
    fn a_list_trains_parts_whole_and_a_model_with_adapters_by_them() {
        let list = TrainedParts::Parts(vec![Part::Llm, Part::Vision3dConnector]);
        let of = |llm| list.tunings(llm).unwrap().names();
        assert_eq!(of(PLAIN), ["llm", "vision3d_connector"]);
        assert_eq!(of(ADAPTED), ["llm.blocks by adapters", "vision3d_connector"]);
        let none = TrainedParts::Parts(Vec::new());
        assert!(none.check(1.0).unwrap_err().to_string().starts_with("model.train: expected one part or more"));
    }

    #[test]
    fn a_table_names_each_piece_by_a_word_or_a_table() {
        let m3d = "llm.blocks = \"lora\"\nllm.embeddings = \"full\"\nllm.head = { how = \"full\", learning_rate = 1e-5 }\n\
                   vision3d_model = { how = \"full\", weight_decay = 0.1 }\nvision3d_connector = \"full\"\n";
        let expected = ["lora", "full", "full", "frozen", "frozen", "full", "full"];
        assert_eq!(hows(m3d, ADAPTED), expected);
        let found = tunings(m3d, ADAPTED).unwrap();
        assert_eq!(found.of(Piece::LlmHead).learning_rate, Some(1e-5));
        assert_eq!(found.of(Piece::Vision3dModel).weight_decay, Some(0.1));
        assert_eq!(found.of(Piece::LlmEmbeddings), Tuning::of(How::Full));

        let whole = ["full", "full", "full", "frozen", "frozen", "frozen", "frozen"];
        assert_eq!(hows("llm = \"full\"", PLAIN), whole);
        let own = tunings("llm = { how = \"full\", learning_rate = 2e-5 }", PLAIN).unwrap();
        assert!(Piece::of_part(Part::Llm).all(|piece| own.of(piece).learning_rate == Some(2e-5)));
        // By adapters alone, the tables stay.
        assert_eq!(hows("llm = \"lora\"", ADAPTED)[..3], ["lora", "frozen", "frozen"]);
        // One table for both has one way, under either name.
        for tied in ["llm.embeddings = \"full\"", "llm.head = \"full\"", "llm = \"full\""] {
            let tunings = tunings(tied, TIED).unwrap();
            let hows = [Piece::LlmEmbeddings, Piece::LlmHead].map(|piece| tunings.of(piece).how);
            assert_eq!(hows, [How::Full; 2], "{tied}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_the_model_is_named_by_its_key() {
        for (train, llm, words) in [
            ("llm.embeddings = \"lora\"", ADAPTED, "model.train.llm.embeddings: expected full or frozen"),
            ("vision2d_model = \"lora\"", ADAPTED, "model.train.vision2d_model: expected full or frozen"),
            ("llm = \"lora\"", PLAIN, "model.train.llm.blocks: expected frozen or full, or adapters: model.lora"),
            ("llm.blocks = \"full\"", ADAPTED, "model.train.llm.blocks: expected lora or frozen"),
            ("llm = { how = \"full\", head = \"full\" }", PLAIN, "model.train.llm: expected how, or blocks"),
            (
                "llm.embeddings = \"full\"\nllm.head = \"frozen\"",
                TIED,
                "model.train.llm.head: expected as llm.embeddings",
            ),
            ("llm = \"frozen\"", PLAIN, "model.train: expected one part or more that learns"),
            ("", PLAIN, "model.train: expected one part or more that learns"),
            ("llm = \"ful\"", PLAIN, "did you mean `full`?"),
            ("vision3d_conector = \"full\"", PLAIN, "did you mean `vision3d_connector`?"),
            ("llm.embedding = \"full\"", PLAIN, "did you mean `embeddings`?"),
            ("\"llm.blocks\" = \"full\"", PLAIN, "unknown field `llm.blocks`"),
            ("llm = { learning_rate = 1e-5 }", PLAIN, "model.train.llm.learning_rate: expected how = \"full\""),
            (
                "vision2d_model = { how = \"frozen\", weight_decay = 0.1 }",
                PLAIN,
                "model.train.vision2d_model.weight_decay: expected how",
            ),
            (
                "vision2d_model = { how = \"full\", learning_rate = -1.0 }",
                PLAIN,
                "model.train.vision2d_model.learning_rate: expected a number, 0 or more, found -1",
            ),
            ("vision2d_model = { learning_rate = 1.0 }", PLAIN, "missing field `how`"),
            ("llm = 3", PLAIN, "frozen, full or lora, or a table"),
        ] {
            let message = tunings(train, llm).unwrap_err();
            assert!(message.contains(words), "{train}: {message}");
        }
        let own = read("llm = { how = \"full\", learning_rate = 1e-5 }").unwrap();
        let message = own.check(0.0).unwrap_err().to_string();
        assert!(message.starts_with("optimizer.learning_rate: expected above 0"), "{message}");
    }
}
