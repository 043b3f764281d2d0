"""Writes pairs.json, what two releases of NLTK make of generated pairs:

    make_golden.py PYTHON_WITH_NLTK_3.8.1 PYTHON_WITH_NLTK_3.10 ENGLISH_JSON WORDNET pairs.json

ENGLISH_JSON is src/data/english.json of https://crates.io/crates/punkt/1.0.5, WORDNET the folder of Debian's wordnet-base
1:3.0-37 (`cargo xtask setup --wordnet` unpacks it into .wordnet/). Everything comes from the lists below and a seed.
"""
import json, os, random, shutil, subprocess, sys, tempfile
from pathlib import Path

PAIRS = 320
ORGANS = """\
liver spleen kidney kidneys aorta bladder colon lungs heart femur pelvis ribs brain cerebellum thyroid trachea""".split()
FINDINGS = """\
mass masses cyst cysts nodule tumour tumor neoplasm haematoma hematoma calculus calculi stone stones oedema
edema fracture break""".split()
QUALITIES = """\
large big small tiny ill-defined well-circumscribed enlarged enlarging enlargement calcified thickened widened
chronic benign""".split()
SIZES = ["2.5 cm", "2.3 x 1.9 cm", "3-5 mm", ".5 mm"]
SHOWS = "shows demonstrates reveals displays suggests indicates".split()
FORMS = """\
dying lying skies flies news innings proceed feed agreed hopping falling filing happy enjoy spied relational
conditional vileli formaliti archaeologically geologic cheerfully roll controll cease rate yyyyy syzygy eseses
eded inging women mice axes better best went oxen diagnoses vertebrae bases leaves boxes quizzes matches
dishes ladies easier largest abdominally generalizations oscillators""".split()
KIN = """\
mass masses lump|cyst cysts vesicle|tumour tumor tumours neoplasm|calculus calculi stone stones concretion
oedema edema hydrops|fracture fractured fracturing break|large big larger largest|small little smaller
enlarged enlarging enlargement|calcified calcify|thickened thickening|widened widening widen
kidney kidneys renal|heart ticker|shows demonstrates exhibits presents|tiny bantam|feed feeding fed
hopping hopped|happy happily happier|enjoy enjoyed love|went go goes|mice mouse|women woman|better good
dying die died|ladies lady madam|archaeologically archaeological|generalizations generalize|seen see visualize
chronic chronically|doctor doc physician|purchase buy bought|begin start commence|frank franks frankfurter
car auto automobile|attorneys_general lawyer|child kid"""
KIN = [group.split() for group in KIN.replace("\n", "|").split("|")]
NASTY = """\
Dr. Mr. e.g. i.e. No. vs. approx. p.m. a.m. U.S. Ph.D. St. J. C. T. Fig. et al. seg. 5.
12. 3.14. x. non-Dr. ... .. . . . .... ? ! ?! !!! " " ' '' ` `` `` “ ” ‘ ’ « » „ -- --- -
– — ‒ ― ( ) [ ] { } < > ; : , * ** @ # $ % & / _ +/- ± = it's It'S don't CAN'T cannot
CanNot gonna gotta gimme lemme wanna d'ye 'tis 'Twas more'n they've I'M we'll you'd
patients' 'n' o'clock '90s 'a 'x1 rock'n'roll O'Brien's n't 're 2.5 1,000 -10 .5 3-5 3–5
L4/5 10% 12:30 1e-3 3,14 1.2.3 5cm ½ ² ٣.٤ １２ 37.5°C 10×20 7.. 5.) :x ,s Lésion Straße
naïve ΣΊΣΥΦΟΣ ὌΣΦΥΣ ИНФАРКТ 肝脏肿块。 左肺 간 الكبد यकृत ตับ 🫁 👩‍⚕️ ﬁbrosis Ⅶ K Å İstanbul ısı
gımme 'tıs 'tiſ 'ſ ǅ é n̂ ñ Ⓐ a‿b x‍y ª º µm 𝒜𝓃 𝟙𝟚 ℃ № …""".split()
SPACES = [" "] * 12 + ["  ", "\n", "\r\n", "\t", "\n\n", "-\n", "\v", "\f", "\x1c", "\x1f", "", ""]
SPACES += ["\u00a0", "\u2003", "\u0085", "\u2028", "\u200b"]
draw = random.Random(20061)


def sentence():
    noun = lambda: f"{draw.choice(QUALITIES)} {draw.choice(FINDINGS)}"
    return draw.choice(
        [
            lambda: f"The scan {draw.choice(SHOWS)} a {noun()} in the {draw.choice(ORGANS)}.",
            lambda: f"No {draw.choice(FINDINGS)} or {draw.choice(FINDINGS)} is seen in the {draw.choice(ORGANS)}!",
            lambda: f"{draw.choice(ORGANS).capitalize()}: {noun()}, measuring {draw.choice(SIZES)};",
            lambda: f"(The {draw.choice(ORGANS)} and the {draw.choice(ORGANS)} are {draw.choice(QUALITIES)}.)",
            lambda: f"{draw.choice(ORGANS)} {draw.choice(FINDINGS)} vs. {noun()}",
        ]
    )()


def changed(words, share, pool):
    out = []
    for word in words:
        lot = draw.random()
        if lot < share / 4:
            continue
        kin = [group for group in KIN if word in group]
        if lot < share / 2:
            out += [word, word]
        elif lot < share * 0.75:
            out.append(draw.choice(pool))
        else:
            out.append(draw.choice(kin[0]) if kin else word)
    if draw.random() < share:
        cut = draw.randrange(len(out) + 1)
        out = out[cut:] + out[:cut]
    return out


def joined(words):
    return "".join(word + draw.choice(SPACES) for word in words)


def pair(kind):
    if kind == "report":
        words = " ".join(sentence() for _ in range(draw.randint(1, 4))).split(" ")
        return " ".join(changed(words, draw.choice([0, 0.2, 0.5]), FINDINGS + ORGANS)), " ".join(words)
    if kind == "answer":
        word = draw.choice(ORGANS)
        return draw.choice([word, word.upper(), word + "s", word + ".", "", "The " + word]), draw.choice([word, word, "", "..."])
    if kind == "repeated":
        words = [draw.choice(["the", "liver", "liver", "lungs", "a"]) for _ in range(draw.randint(2, 20))]
        return " ".join(draw.sample(words, draw.randint(1, len(words)))), " ".join(words)
    if kind == "forms":
        words = [draw.choice(FORMS + FINDINGS + sum(KIN, [])) for _ in range(draw.randint(1, 12))]
        return " ".join(changed(words, 0.4, FORMS)), " ".join(words)
    words = [draw.choice(NASTY + ORGANS[:4] + ["The", "He", "in"]) for _ in range(draw.randint(1, 16))]
    return joined(changed(words, 0.4, NASTY)), joined(words)


def score():
    """Runs where one NLTK is importable: pairs in, rows out."""
    import nltk
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from nltk.translate import meteor_score

    learned = json.load(open(os.environ["ENGLISH_JSON"], encoding="utf8"))
    punkt = PunktSentenceTokenizer()
    punkt._params = PunktParameters()
    punkt._params.abbrev_types = set(learned["abbrev_types"])
    punkt._params.sent_starters = set(learned["sentence_starters"])
    punkt._params.collocations = set(map(tuple, learned["collocations"]))
    punkt._params.ortho_context.update(learned["ortho_context"])
    rules = NLTKWordTokenizer()
    tokens = lambda text: [token for part in punkt.tokenize(text) for token in rules.tokenize(part)]
    modes = [PorterStemmer(mode) for mode in ("NLTK_EXTENSIONS", "MARTIN_EXTENSIONS", "ORIGINAL_ALGORITHM")]
    rows, stems = [], {}
    for prediction, reference in json.load(sys.stdin):
        ours, theirs = tokens(prediction.strip()), tokens(reference.strip())
        meteor = meteor_score.single_meteor_score(theirs, ours, alpha=0.9, beta=3, gamma=0.5)
        left = meteor_score._generate_enums(ours, theirs)
        equal, *left = meteor_score._match_enums(*left)
        stem, *left = meteor_score._enum_stem_match(*left)
        synonym, *left = meteor_score._enum_wordnetsyn_match(*left)
        matches = sorted(equal + stem + synonym)
        chunks = meteor_score._count_chunks(matches) if matches else 0
        aligned = [len(equal), len(stem), len(synonym)]
        rows.append({"tokens": [ours, theirs], "aligned": aligned, "chunks": chunks, "meteor": meteor})
        stems.update({word: [mode.stem(word) for mode in modes] for word in map(str.lower, ours + theirs)})
    json.dump({"nltk": nltk.__version__, "rows": rows, "stems": stems}, sys.stdout)


def nltk_data(wordnet, folder):
    """What NLTK wants of WordNet's folder besides what METEOR reads is made up."""
    home = folder / "corpora/wordnet"
    shutil.copytree(wordnet, home)
    (home / "lexnames").write_text("".join(f"{number:02}\tfile{number}\t1\n" for number in range(45)))
    (home / "index.sense").write_text("")
    other = folder / "corpora/omw-1.4"
    other.mkdir()
    (other / "README").write_text("\n")


def main():
    *pythons, english, wordnet, out = sys.argv[1:]
    kinds = ["report"] * 5 + ["nasty"] * 6 + ["forms"] * 3 + ["answer", "repeated"]
    pairs = [pair(kinds[number % len(kinds)]) for number in range(PAIRS)]
    with tempfile.TemporaryDirectory() as folder:
        nltk_data(wordnet, Path(folder))
        env = dict(os.environ, NLTK_DATA=folder, ENGLISH_JSON=english)
        asked = dict(input=json.dumps(pairs), env=env, stdout=subprocess.PIPE, text=True, check=True)
        old, new = (json.loads(subprocess.run([python, __file__, "score"], **asked).stdout) for python in pythons)
    assert old["nltk"] == "3.8.1" and new["nltk"].startswith("3.10."), (old["nltk"], new["nltk"])
    lines = []
    for (prediction, reference), first, second in zip(pairs, old["rows"], new["rows"], strict=True):
        row = {"prediction": prediction, "reference": reference, "3.8.1": first} | ({} if first == second else {"3.10": second})
        lines.append(json.dumps(row))
    with open(out, "w", newline="\n") as file:
        file.write(f'{{"nltk": ["{old["nltk"]}", "{new["nltk"]}"],\n"stems": {json.dumps(old["stems"])},\n"pairs": [\n')
        file.write(",\n".join(lines) + "\n]}\n")


score() if sys.argv[1:] == ["score"] else main()
