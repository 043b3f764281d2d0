//! CT windows: the range of Hounsfield units that is mapped to 0..1, given by numbers or by the name of a preset.

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A window by center and width: `center - width / 2` maps to 0, `center + width / 2` to 1; values outside are clamped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowLevel {
    /// The middle of the window, in HU.
    pub center: f32,
    /// From the lower to the upper end, in HU; above 0.
    #[serde(deserialize_with = "width")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub width: f32,
}

impl WindowLevel {
    /// The lower and upper end in HU, which map to 0 and to 1.
    pub fn bounds(&self) -> [f32; 2] {
        [self.center - self.width / 2.0, self.center + self.width / 2.0]
    }
}

fn width<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let width = f32::deserialize(deserializer)?;
    if width > 0.0 && width.is_finite() {
        return Ok(width);
    }
    Err(de::Error::custom(format!("expected a window width above 0 HU, found {width}")))
}

/// Windows that most CT viewers offer, as center and width in HU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowPreset {
    /// Abdominal organs: 40, 400 (-160 to 240).
    SoftTissue,
    /// Lung: -600, 1500 (-1350 to 150).
    Lung,
    /// Bone: 400, 1800 (-500 to 1300).
    Bone,
    /// Brain: 40, 80 (0 to 80).
    Brain,
    /// Mediastinum: 50, 350 (-125 to 225).
    Mediastinum,
    /// Air to dense bone: 0, 2000 (-1000 to 1000), on which 3D CT models are commonly trained.
    Wide,
}

impl WindowPreset {
    /// The preset's center and width.
    pub fn level(self) -> WindowLevel {
        let (center, width) = match self {
            WindowPreset::SoftTissue => (40.0, 400.0),
            WindowPreset::Lung => (-600.0, 1500.0),
            WindowPreset::Bone => (400.0, 1800.0),
            WindowPreset::Brain => (40.0, 80.0),
            WindowPreset::Mediastinum => (50.0, 350.0),
            WindowPreset::Wide => (0.0, 2000.0),
        };
        WindowLevel { center, width }
    }
}

/// A window as a configuration names it: `"lung"`, or `{ center = -600, width = 1500 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Window {
    /// A preset by its name.
    Preset(WindowPreset),
    /// Center and width.
    Level(WindowLevel),
}

impl Window {
    /// The window's center and width.
    pub fn level(self) -> WindowLevel {
        match self {
            Window::Preset(preset) => preset.level(),
            Window::Level(level) => level,
        }
    }
}

/// Written by hand: the message of serde's `untagged` names neither the unknown key nor the valid names.
impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumbers;

        impl<'de> Visitor<'de> for NameOrNumbers {
            type Value = Window;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a window's name, or its center and width in HU")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Window, E> {
                WindowPreset::deserialize(de::value::StrDeserializer::new(name)).map(Window::Preset)
            }

            fn visit_map<A: MapAccess<'de>>(self, numbers: A) -> Result<Window, A::Error> {
                WindowLevel::deserialize(MapAccessDeserializer::new(numbers)).map(Window::Level)
            }
        }
        deserializer.deserialize_any(NameOrNumbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_name_or_numbers() {
        let read = |text: &str| serde_json::from_str::<Window>(text);
        assert_eq!(read("\"soft_tissue\"").unwrap().level().bounds(), [-160.0, 240.0]);
        let own = read("{\"center\": -20, \"width\": 60.5}").unwrap();
        assert_eq!(own.level(), WindowLevel { center: -20.0, width: 60.5 });
        assert_eq!(serde_json::to_string(&read("\"lung\"").unwrap()).unwrap(), "\"lung\"");
        for (bad, expected) in [
            ("\"lungs\"", "`lung`"),
            ("{\"center\": 1, \"width\": 0}", "above 0"),
            ("{\"center\": 1, \"wide\": 2}", "`width`"),
            ("3", "a window's name"),
        ] {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
