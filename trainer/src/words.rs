//! Choices by name: one list of words for configuration files, reports and the command line.

use std::str::FromStr;

/// A word that does not name a value of a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found `{found}`", expected.join(", "))]
pub struct WordError {
    /// The choice's words.
    pub expected: Vec<&'static str>,
    /// The word given.
    pub found: String,
}

/// A choice between named values. Serde and `FromStr` use the same words.
pub trait Word: FromStr<Err = WordError> + Copy + Send + Sync + 'static {
    /// Every value, in the order of the declaration.
    const ALL: &'static [Self];

    /// The value's word.
    fn as_str(self) -> &'static str;

    /// One sentence that states what the value means.
    fn doc(self) -> &'static str;
}

/// Declares an enum whose variants are `Variant = "word"`, each with one line of documentation, and implements [`Word`].
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(#[doc = $doc:literal] $(#[$more:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $vis enum $name {
            $(#[doc = $doc] $(#[$more])* #[serde(rename = $word)] $variant,)+
        }

        impl $crate::words::Word for $name {
            const ALL: &'static [$name] = &[$($name::$variant),+];

            fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            fn doc(self) -> &'static str {
                match self {
                    $($name::$variant => $doc.trim_ascii(),)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::WordError;

            fn from_str(word: &str) -> Result<$name, Self::Err> {
                let all = <$name as $crate::words::Word>::ALL;
                let as_str = |value: &$name| $crate::words::Word::as_str(*value);
                all.iter().copied().find(|value| as_str(value) == word).ok_or_else(|| $crate::words::WordError {
                    expected: all.iter().map(as_str).collect(),
                    found: word.to_owned(),
                })
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    words! {
        /// A choice.
        #[derive(Default)]
        enum Size {
            /// Not large.
            #[default]
            Small = "small",
            /// As large as two.
            Twice = "2x",
        }
    }

    #[test]
    fn every_value_has_one_word_for_serde_and_from_str() {
        for size in Size::ALL {
            assert_eq!(size.as_str().parse(), Ok(*size));
            assert_eq!(serde_json::to_value(size).unwrap(), size.as_str());
        }
        assert_eq!((Size::default(), Size::Twice.doc()), (Size::Small, "As large as two."));
        let error = "large".parse::<Size>().unwrap_err().to_string();
        assert_eq!(error, "expected one of small, 2x, found `large`");
    }
}
