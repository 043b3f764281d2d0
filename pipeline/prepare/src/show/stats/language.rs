//! Language of a text, as far as its letters tell: a script, and of texts in Latin letters German and English where their small
//! words leave no doubt.

/// The word for a text's language or script: `english`, `german`, `latin` (another language, or too few words to tell), `han`,
/// `japanese`, `hangul`, `cyrillic`, `greek`, `arabic`, `hebrew`, `devanagari`, `thai`, `other`, or `none` without letters.
pub fn of(text: &str) -> &'static str {
    let mut counts = [0u64; SCRIPTS.len()];
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        let script = SCRIPTS.iter().position(|(_, is)| is(c)).unwrap_or(SCRIPTS.len() - 1);
        counts[script] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return "none";
    }
    let [latin, han, kana, ..] = counts;
    // Japanese is written in both; Chinese has no kana.
    if kana > 0 && kana + han >= most {
        return "japanese";
    }
    if latin == most {
        return of_latin(text);
    }
    // A sign of Han is a word, and a Latin term among them is one too, in many letters.
    if han > 0 && han * 4 >= latin && han + latin > most {
        return "han";
    }
    counts.iter().position(|count| *count == most).map_or("other", |script| SCRIPTS[script].0)
}

/// Whether a letter is of a script.
type Is = fn(char) -> bool;

/// Scripts by their blocks in Unicode; the last takes every letter.
const SCRIPTS: [(&str, Is); 12] = [
    (
        "latin",
        |c| matches!(c, 'A'..='Z' | 'a'..='z' | '\u{aa}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{ff21}'..='\u{ff5a}'),
    ),
    (
        "han",
        |c| matches!(c, '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}'),
    ),
    ("japanese", |c| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}')),
    ("hangul", |c| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}')),
    (
        "cyrillic",
        |c| matches!(c, '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}'),
    ),
    ("greek", |c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}')),
    (
        "arabic",
        |c| matches!(c, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{8a0}'..='\u{8ff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'),
    ),
    ("hebrew", |c| matches!(c, '\u{590}'..='\u{5ff}')),
    ("devanagari", |c| matches!(c, '\u{900}'..='\u{97f}')),
    ("thai", |c| matches!(c, '\u{e00}'..='\u{e7f}')),
    ("bengali", |c| matches!(c, '\u{980}'..='\u{9ff}')),
    ("other", |_| true),
];

/// Small words of English that its neighbours do not have: no `is`, `of`, `in` or `was`, which Dutch or German write too.
const ENGLISH: [&str; 14] =
    ["the", "and", "with", "are", "this", "there", "which", "from", "has", "have", "what", "where", "without", "seen"];

/// Small words of German that its neighbours do not have: no `der`, `die`, `den` or `von`, which Dutch or Danish write too.
const GERMAN: [&str; 16] = [
    "und", "ist", "nicht", "mit", "kein", "keine", "keinen", "einer", "eines", "zum", "zur", "sich", "sind", "wird",
    "für", "ohne",
];

/// Small words that must be there.
const ENOUGH: usize = 2;

/// German or English where only one of them has its small words in the text, twice at least.
fn of_latin(text: &str) -> &'static str {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let (mut english, mut german) = (0, 0);
    for word in words.map(str::to_lowercase) {
        english += usize::from(ENGLISH.contains(&word.as_str()));
        german += usize::from(GERMAN.contains(&word.as_str()));
    }
    // A quoted word of the other language is no doubt.
    if english >= ENOUGH && english > 4 * german {
        "english"
    } else if german >= ENOUGH && german > 4 * english {
        "german"
    } else {
        "latin"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_told_by_their_letters() {
        for (text, language) in [
            ("", "none"),
            ("12.5 (3) %", "none"),
            ("肝右叶见低密度影,边界清晰。", "han"),
            ("CT平扫未见明显异常。", "han"),
            ("右肺に結節を認めます。", "japanese"),
            ("우측 폐에 결절이 있다.", "hangul"),
            ("В правом лёгком очаг 5 мм.", "cyrillic"),
            ("Στον δεξιό πνεύμονα", "greek"),
            ("عقيدة في الرئة اليمنى", "arabic"),
            ("קשר בריאה הימנית", "hebrew"),
            ("दाहिने फेफड़े में गांठ", "devanagari"),
            ("พบก้อนที่ปอดขวา", "thai"),
            ("ორგანო", "other"),
        ] {
            assert_eq!(of(text), language, "{text}");
        }
    }

    #[test]
    fn german_and_english_are_told_only_where_there_is_no_doubt() {
        for (text, language) in [
            ("The liver is enlarged and there are two cysts.", "english"),
            ("What is the plane of this image?", "english"),
            ("No pleural effusion.", "latin"),
            ("Axial", "latin"),
            ("Keine Infiltrate. Kein Pleuraerguss.", "german"),
            ("Die Leber ist vergrößert und zeigt zwei Zysten.", "german"),
            ("Regelrechter Befund.", "latin"),
            // Reports of the same kind in other languages, none of which may be taken for one of the two.
            (
                "Le foie est augmenté de taille et il y a deux kystes dans le lobe droit avec des calcifications.",
                "latin",
            ),
            ("El hígado es de tamaño normal y no hay lesiones en el lóbulo derecho, con un quiste de 5 mm.", "latin"),
            ("Il fegato è di dimensioni normali e non ci sono lesioni nel lobo destro, con una cisti.", "latin"),
            ("De lever is vergroot en er zijn twee cysten in de rechter kwab, met een verkalking van 5 mm.", "latin"),
            ("Leveren er forstørret, og der ses to cyster i højre lap med en forkalkning på den ene side.", "latin"),
            ("Levern är förstorad och det finns två cystor i höger lob med en förkalkning på den ena sidan.", "latin"),
            ("O fígado está aumentado e há dois cistos no lobo direito, sem sinais de lesão com contraste.", "latin"),
            ("Wątroba jest powiększona i są dwie torbiele w prawym płacie, bez cech zmiany ogniskowej.", "latin"),
            ("Karaciğer büyümüştür ve sağ lobda iki kist vardır, ayrıca bir kalsifikasyon izlenmektedir.", "latin"),
            ("A máj megnagyobbodott, és a jobb lebenyben két ciszta van, meszesedés nem látható.", "latin"),
        ] {
            assert_eq!(of(text), language, "{text}");
        }
    }
}
