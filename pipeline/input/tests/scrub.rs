//! Scrubbing of report texts: what the built-in rules find and what they leave, in English, German and Chinese, and rules files.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use med2e3_input::InputError;
use med2e3_input::text::scrub::{BUILT_IN, MOST_BYTES, MOST_RULES};
use med2e3_input::text::{Counts, Scrubber};
use med2e3_schemas::identity::{Identify, Identity};
use proptest::prelude::*;

/// Checks texts with the texts that they become.
fn becomes(pairs: &[(&str, &str)]) {
    let scrubber = Scrubber::built_in();
    let wrong: Vec<String> = pairs
        .iter()
        .map(|(text, expected)| (*text, *expected, scrubber.scrub(text).text.into_owned()))
        .filter(|(_, expected, found)| expected != found)
        .map(|(text, expected, found)| format!("{text}\n  expected {expected}\n  found    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that texts stay as they are.
fn stay(texts: &[&str]) {
    becomes(&texts.iter().map(|text| (*text, *text)).collect::<Vec<_>>());
}

#[test]
fn dates() {
    becomes(&[
        ("2021-03-12, 2021/3/12, 2021.03.12, 20210312", "[DATE], [DATE], [DATE], [DATE]"),
        ("taken 2021-03-12T10:23:00 and read 10:23", "taken [DATE] and read 10:23"),
        ("vom 12.03.2021, 12.03.21, 1.2.2021, 1.2.21.", "vom [DATE], [DATE], [DATE], [DATE]."),
        ("12. 03. 2021; 12.-15.03.2021; 12.03.2021-15.03.2021", "[DATE]; [DATE]; [DATE]-[DATE]"),
        ("on 03/12/2021, 3/12/21 and 12-03-2021", "on [DATE], [DATE] and [DATE]"),
        ("Unfall vom 3.4.; Kontrolle am 5.10. geplant", "Unfall vom [DATE]; Kontrolle am [DATE] geplant"),
        ("Im 03/2021 und 03.2021", "Im [DATE] und [DATE]"),
        ("March 12th, 2021; 12 Mar 2021; 12-MAR-2021; 12-Mar-21", "[DATE]; [DATE]; [DATE]; [DATE]"),
        ("12th of March 2021, May 2021, April 3, 3rd of May", "[DATE], [DATE], [DATE], [DATE]"),
        ("12. März 2021, 12. Mai, Dez. 2020, Jänner 2021", "[DATE], [DATE], [DATE], [DATE]"),
        ("于2021年3月12日，2021年3月，3月12号复查", "于[DATE]，[DATE]，[DATE]复查"),
        ("２０２１年３月１２日，二〇二一年三月十二日", "[DATE]，[DATE]"),
        ("DOB: 03/12/1956, born in 1956, *12.03.1956", "DOB: [DATE], born in [DATE], *[DATE]"),
        ("geb. 12.03.56, Geburtsdatum: 1956, Jahrgang 1956", "geb. [DATE], Geburtsdatum: [DATE], Jahrgang [DATE]"),
        ("出生日期：1956-03-12 生日 1956", "出生日期：[DATE] 生日 [DATE]"),
    ]);
    stay(&[
        "Time 10:23, 5/6, in 3-6 months, 6-12 mm, section 1.2.3, v1.2.3, 1,234,567 voxels",
        "The lesion may 2 years later, seen in 2021, 1998 examinations, since 2019",
        "3个月前，3月前发现，第12日，12月龄",
    ]);
}

#[test]
fn names() {
    becomes(&[
        ("Patient Max Mustermann kam", "Patient [NAME] kam"),
        ("Patientin Müller, Pat. M. Müller", "Patientin [NAME], Pat. [NAME]"),
        ("Patient: Müller, Anna", "Patient: [NAME]"),
        ("PATIENT: DOE, JOHN\nPatient Doe, J.", "PATIENT: [NAME]\nPatient [NAME]"),
        ("patient John Smith presented", "patient [NAME] presented"),
        ("Name: Schmidt, Karl-Heinz", "Name: [NAME]"),
        ("Nachname: Özdemir Vorname: Ayşe", "Nachname: [NAME] Vorname: [NAME]"),
        ("Patient: Müller, Hans Geburtsdatum: 1.2.1956", "Patient: [NAME] Geburtsdatum: [DATE]"),
        ("Frau Dr. Ilse von der Heide und Herrn Meyer", "Frau Dr. [NAME] und Herrn [NAME]"),
        ("Herr Prof. Dr. med. Hans Peter Meyer", "Herr Prof. Dr. med. [NAME]"),
        ("Frau MÜLLER, Mr. SMITH, Mrs. O'Brien, Ms Lee", "Frau [NAME], Mr. [NAME], Mrs. [NAME], Ms [NAME]"),
        ("Frau Mu\u{308}ller kommt", "Frau [NAME] kommt"),
        ("Dear Dr. Smith, referring physician: R. House.", "Dear Dr. [NAME], referring physician: [NAME]."),
        ("Read by: Smith. gez. Dr. Meyer", "Read by: [NAME]. gez. Dr. [NAME]"),
        ("Patient mit Frau Dr. Müller besprochen", "Patient mit Frau Dr. [NAME] besprochen"),
        ("Study name: CT Thorax. Patient: Hans Müller", "Study name: CT Thorax. Patient: [NAME]"),
        ("Doe^John and DOE^JANE^^", "[NAME] and [NAME]"),
        ("患者姓名：张三 性别：男", "患者姓名：[NAME] 性别：男"),
        ("姓名：张三性别：男。姓名 李小明", "姓名：[NAME]性别：男。姓名 [NAME]"),
        ("患者：李雷，患者张三，男，45岁", "患者：[NAME]，患者[NAME]，男，45岁"),
        ("患者：于洋。姓名：欧阳娜娜", "患者：[NAME]。姓名：[NAME]"),
        ("姓名：买买提·吐尔逊，男", "姓名：[NAME]，男"),
        ("审核医师：王芳 报告医生：赵敏。李女士诉腹痛", "审核医师：[NAME] 报告医生：[NAME]。[NAME]女士诉腹痛"),
    ]);
    stay(&[
        "Patient in supine position. The patient with cancer. Patient Supine. Patient Positioning: Supine.",
        "Patient History: smoker. PATIENT HISTORY: none. Patient's arms. Patients Aged 50. Inpatient Study.",
        "Patient: Male, 65 years. Patient: CT of the abdomen. Patient: The liver is normal.",
        "Seen by the patient. Liver normal. By the Patient\nLiver normal.",
        "Frau mit Schmerzen. Herr der Lage. Frauen Klinik. Sehr geehrter Herr Kollege, Frau Kollegin.",
        "Patient Lagerung in Rückenlage. Pat. Z.n. Lobektomie. Patient Raucher. Patienten mit Niereninsuffizienz.",
        "MR Angiography. MR. Findings normal. MS plaques. Dr. Koll. DRG. Drs.",
        "Trade name: Omnipaque 350. File name: thorax. Untersuchungsname: CT Abdomen",
        "unter med. Therapie; PD Weighted; R^2 = 0.99; 10^-3; 12 Fr. Katheter; Miss-match",
        "患者仰卧位。患者：男，65岁。患者老年男性，患者高龄女性，患者因咳嗽就诊。责任医师。",
    ]);
}

#[test]
fn telephone_numbers_and_addresses() {
    becomes(&[
        ("Tel.: 0551/39-12345, Fax +49 551 3912345", "Tel.: [PHONE], Fax [PHONE]"),
        ("phone (555) 123-4567, 555-123-4567, pager 1234", "phone [PHONE], [PHONE], pager [PHONE]"),
        ("mobile 0171 1234567; Durchwahl 4711", "mobile [PHONE]; Durchwahl [PHONE]"),
        ("电话：13812345678，联系电话：010-12345678", "电话：[PHONE]，联系电话：[PHONE]"),
        ("max.muster@uni-klinik.de, john_doe@example.com.", "[EMAIL], [EMAIL]."),
        ("wohnhaft Musterstraße 12, 37073 Göttingen.", "wohnhaft [ADDRESS]."),
        ("Hauptstr. 5a; 123 Main Street, Springfield, IL 62704.", "[ADDRESS]; [ADDRESS]."),
        ("住址：北京市朝阳区建国路88号，", "住址：[ADDRESS]，"),
    ]);
    stay(&[
        "Ausflussstraße ist frei. Sehstraße 80 % frei.",
        "12 Central veins. Main pulmonary artery 3",
        "a @ b, 5@1.5",
    ]);
}

#[test]
fn identifiers() {
    becomes(&[
        ("MRN: 12345, MRN12345, ACC# A12-3456", "MRN: [ID], MRN[ID], ACC# [ID]"),
        ("Fallnummer 4711-22, Patienten-ID: 99887, Pat.-Nr. 123", "Fallnummer [ID], Patienten-ID: [ID], Pat.-Nr. [ID]"),
        ("Accession number 8765; accession 8765; case ID 55-A", "Accession number [ID]; accession [ID]; case ID [ID]"),
        ("Versichertennummer A123456789, insurance no. 77/8", "Versichertennummer [ID], insurance no. [ID]"),
        ("ID: AB1234, 1234567, X12345678, SSN 123-45-6789", "ID: [ID], [ID], [ID], SSN [ID]"),
        ("UID 1.2.840.113619.2.55.3.604688", "UID [ID]"),
        ("住院号：123456 门诊号 A0012 检查号：CT2021-55", "住院号：[ID] 门诊号 [ID] 检查号：[ID]"),
        ("身份证号：11010119900307123X", "身份证号：[ID]"),
    ]);
    stay(&["IDH1 mutation, ID 7, case no. 4, patient no. 5", "0.1234567, 12,3456789, 123456 cells"]);
}

/// Reports as they are written, without anything that tells who a patient is.
const REPORTS: [&str; 12] = [
    "3.5 x 2.1 cm, 12.5 mm, 3,5 x 2,1 cm, L4/5, T2/FLAIR, TNM pT2 N0 M0, 120 kV, 5/10 mm, 10/12/14 mm, -1024 HU, 12 HE",
    "Bosniak 2F, BI-RADS 4, LI-RADS 3, Lung-RADS 4B, Im. 45/120, Image 12/2034, Serie 4, series 5/6/10, Bild 3/2021",
    "C5/6/7, Th10/11/12, LWK 4/5, BWK 11/12, Segment 4a/8, segments 5/6/07, ribs 5-12, Grade 3/5, T1 and T2",
    "Helical acquisition 120 kV, 250 mAs, pitch 0.984, matrix 512 x 512, CTDIvol 8.23 mGy, DLP 345.6 mGycm. Contrast: \
     100 ml Omnipaque 350 at 3 ml/s, delay 70 s. b = 0/500/1000, TR/TE 5000/90 ms, ADC 0,85 x 10^-3 mm²/s, window 40/400",
    "Lungs: There is a 12 mm spiculated nodule in the right upper lobe (series 4, image 123). No pleural effusion. Heart \
     size is normal. Comparison: none available. Recommend follow-up in 3-6 months.",
    "The liver measures 15.6 cm. There is a hypodense lesion in segment 4a/8, measuring 3.5 x 2.1 cm (previously 3.2 x 1.9 \
     cm). Bones: degenerative changes at L4/5 and L5/S1. UICC stage IIA. 1. Nodule. 2. No acute process.",
    "Patient is status post right hemicolectomy. Patients with chronic disease. Patient motion degrades image quality.",
    "Rundherd im rechten Oberlappen von 12 mm (Serie 3, Bild 45/230). Mediastinale Lymphknoten bis 0,8 cm. Kontrolle in 3-6 \
     Monaten. Größe von 3.5. Kein Erguss. 80 ml Imeron 400, venöse Phase. Spektroskopie: Cho/NAA 2,1. Schicht 12/24.",
    "Patientin mit bekanntem Mammakarzinom. Z. n. Hemikolektomie. Pat. nüchtern. Frau in gutem Allgemeinzustand.",
    "胸部CT平扫：右肺上叶见一结节影，大小约12mm×10mm，CT值约35HU。肝S4段见低密度灶，大小约3.5cm×2.1cm。",
    "腰4/5椎间盘突出。建议3-6个月后复查。患者男性，65岁。患者因咳嗽3月余就诊。由8mm增至12mm。",
    "管电压120kV，层厚1.25mm，对比剂碘海醇350mgI/ml，100ml，注射速率3ml/s。第12层，序列4，图像45/230。",
];

#[test]
fn medical_texts_stay_and_come_back_borrowed() {
    stay(&REPORTS);
    let scrubber = Scrubber::built_in();
    for text in REPORTS {
        let scrubbed = scrubber.scrub(text);
        assert!(matches!(scrubbed.text, Cow::Borrowed(same) if std::ptr::eq(same, text)));
        assert!(scrubbed.counts.is_empty() && scrubber.find(text).is_empty());
    }
}

#[test]
fn hits_are_counted_by_kind() {
    let scrubber = Scrubber::built_in();
    let text = "Patient Max Mustermann, geb. 12.03.1956, Fallnummer 4711-22, vom 1.2.2021";
    let counts = scrubber.scrub(text).counts;
    assert_eq!(counts.iter().collect::<Vec<_>>(), [("DATE", 2), ("ID", 1), ("NAME", 1)]);
    assert_eq!((counts.total(), &scrubber.find(text)), (4, &counts));
    let mut all = Counts::default();
    all += &counts;
    all += &scrubber.find("MRN 12345");
    assert_eq!(all.iter().collect::<Vec<_>>(), [("DATE", 2), ("ID", 2), ("NAME", 1)]);
    assert_eq!(serde_json::to_string(&all).unwrap(), r#"{"DATE":2,"ID":2,"NAME":1}"#);
}

/// Pieces of which hits are made, and what breaks them.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "Patient",
        "Patientin",
        "Pat.",
        "Name:",
        "Frau",
        "Herr",
        "Dr.",
        "Prof.",
        "Mr.",
        "Müller",
        "Hans",
        "DOE",
        "von",
        "Male",
        "geb.",
        "Read by",
        "[NAME]",
        "[DATE]",
        "[ID]",
        "[",
        "]",
        "1",
        "12",
        "3.",
        "03",
        "2021",
        "1956",
        ".",
        ",",
        "-",
        "/",
        ":",
        " ",
        " ",
        " ",
        "\n",
        "年",
        "3月",
        "12日",
        "患者",
        "姓名：",
        "张三",
        "男",
        "女士",
        "MRN",
        "ID",
        "Tel",
        "+49",
        "0551",
        "1234567",
        "@",
        "x.de",
        "mm",
        "March",
        "Mai",
        "Straße",
        "^",
        "'",
        "\u{308}",
        "Im.",
        "DOB",
    ];
    prop_oneof![4 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"]
}

proptest! {
    #[test]
    fn scrubbing_twice_changes_nothing(pieces in prop::collection::vec(piece(), 0..24)) {
        thread_local! {
            static SCRUBBER: Scrubber = Scrubber::built_in();
        }
        SCRUBBER.with(|scrubber| {
            let text = pieces.concat();
            let once = scrubber.scrub(&text);
            let twice = scrubber.scrub(&once.text);
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.counts.is_empty() && matches!(twice.text, Cow::Borrowed(_)));
            prop_assert_eq!(once.counts.is_empty(), matches!(once.text, Cow::Borrowed(_)));
            Ok(())
        })?;
    }
}

fn rules(text: &str) -> Result<Scrubber, InputError> {
    Scrubber::of_rules(text, Path::new("rules.txt"))
}

#[test]
fn a_rules_file_takes_the_place_of_the_built_in_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.txt");
    let text = "\u{feff}# ours\r\n\r\nLET\tWARD\tward (?:[A-Z]|[0-9]+)\r\nWARD\tin (?P<hide>{WARD}{1})\r\nBED\tbed [0-9]+\tbed ?\r\n\
                KEEP\tbed 1\r\nEXCEPT\tWARD\tward*\r\nROOM\troom {2}[0-9]+\t\n";
    fs::write(&path, text).unwrap();
    let scrubber = Scrubber::load(&path).unwrap();
    assert_eq!(scrubber.scrub("bed 1, bed 2, room  7; 12.03.2021").text, "bed 1, bed ?, ; 12.03.2021");
    assert_eq!(scrubber.scrub("in ward 7").text, "in ward 7");
    fs::write(&path, text.replace("EXCEPT", "# EXCEPT")).unwrap();
    assert_eq!(Scrubber::load(&path).unwrap().scrub("in ward 7, ward 8").text, "in [WARD], ward 8");
    // Its own and the built-in ones.
    fs::write(&path, "WARD\tward [0-9]+\nBUILT-IN\n").unwrap();
    assert_eq!(Scrubber::load(&path).unwrap().scrub("ward 7, 12.03.2021").text, "[WARD], [DATE]");
}

#[test]
fn hits_that_overlap_are_one_and_what_replacing_brings_to_light_is_replaced() {
    let scrubber = rules("A\tab+\nB\tb+c\nC\txx\ty\nD\tzyz\n").unwrap();
    let scrubbed = scrubber.scrub("abbbc ab zxxz");
    assert_eq!(scrubbed.text, "[A] [A] [D]");
    assert_eq!(scrubbed.counts.iter().collect::<Vec<_>>(), [("A", 2), ("C", 1), ("D", 1)]);
    // Two rules that feed each other come to an end.
    let scrubber = rules("A\ta(?P<hide>b)\td\nB\ta(?P<hide>d)\tb\n").unwrap();
    assert_eq!(scrubber.scrub("ab ac").text, "ab ac");
}

#[test]
fn rules_have_an_identity_and_a_form_that_travels() {
    let of = |scrubber: &Scrubber| {
        let mut identity = Identity::of_kind("test");
        scrubber.identify(&mut identity);
        identity.finish()
    };
    let scrubber = Scrubber::built_in();
    let again = rules(scrubber.rules()).unwrap();
    assert_eq!((again.rules(), of(&again)), (scrubber.rules(), of(&scrubber)));
    assert_eq!(of(&rules("BUILT-IN").unwrap()), of(&scrubber));
    assert_eq!(of(&rules("# comment\nA\tb").unwrap()), of(&rules("A\tb\t[A]\n").unwrap()));
    assert_ne!(of(&rules("A\tb").unwrap()), of(&rules("A\tb\tx").unwrap()));
    assert!(scrubber.rules().lines().all(|line| !line.starts_with('#') && !line.starts_with("LET")));
}

#[test]
fn errors_name_file_and_line() {
    let message = |text: &str| rules(text).unwrap_err().to_string();
    for (text, expected) in [
        (
            "# x\nDATE",
            "rules.txt: line 2: expected a kind, an expression and perhaps a replacement, separated by tabs, found 1 fields",
        ),
        (
            "A\tb\tc\td",
            "line 1: expected a kind, an expression and perhaps a replacement, separated by tabs, found 4 fields",
        ),
        ("date\tx", "line 1: expected a kind of 1 to 24 capital letters A to Z, digits or _, found `date`"),
        ("A\tb\nB\t(b", "line 2: expected an expression of the crate regex, found an error: unclosed group"),
        ("A\tb*", "line 1: expected an expression of the crate regex, found one that finds the empty text"),
        ("A\t\\p{L}{999}", "found one that takes more than 2097152 bytes of memory"),
        ("KEEP\tb\tc", "line 1: expected no replacement for what is kept, found one"),
        ("KEEP\tb", "expected a rule that replaces something, found none"),
        ("", "expected a rule that replaces something, found none"),
        (
            "A\ta\nB\tb\ta",
            "line 2: expected a replacement in which no rule finds anything, found one in which the rule of line 1",
        ),
        ("LET\tXY\ta", "found the name `XY`"),
        ("LET\tXYZ", "found no expression"),
        ("EXCEPT\tA", "expected a kind and its words, separated by a tab, found no words"),
    ] {
        let message = message(text);
        assert!(message.contains(expected), "{message}");
    }
    let doubled: String =
        (0..40).map(|n| format!("LET\tDOUBLE\t{}\n", ["ab", "{DOUBLE}{DOUBLE}"][usize::from(n > 0)])).collect();
    assert!(message(&doubled).contains("expected an expression of at most 65536 bytes"));
    let many = "A\tb\n".repeat(MOST_RULES + 1);
    assert!(message(&many).contains(&format!("line {}: expected at most 256 rules", MOST_RULES + 1)));
}

#[test]
fn files_that_are_no_rules_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.txt");
    let reason = |path: &Path| Scrubber::load(path).unwrap_err().reason().as_str();
    assert_eq!((reason(&path), reason(folder.path())), ("text_unreadable", "text_unreadable"));
    fs::write(&path, "A\tStra\u{df}e".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    assert_eq!(reason(&path), "text_unreadable");
    fs::write(&path, vec![b'#'; MOST_BYTES as usize + 1]).unwrap();
    assert_eq!(reason(&path), "too_large");
    fs::write(&path, BUILT_IN).unwrap();
    assert_eq!(Scrubber::load(&path).unwrap().rules(), Scrubber::built_in().rules());
}
