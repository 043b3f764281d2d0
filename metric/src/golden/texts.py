"""Makes texts.json: BLEU and ROUGE of single answers by the reference implementations.

    pip install sacrebleu==2.6.0 rouge-score==0.1.2 nltk==3.8.1
    python3 texts.py > texts.json

Hugging Face's `bleu` is sacrebleu's tokenizer 13a (its copy splits where sacrebleu joins by spaces) and the formula
of `bleu` below, of tensorflow/nmt's bleu.py without smoothing. It fails on an empty text; there the score
is 0. Predictions and references are stripped before they are scored.
"""

import json
import math
import random
from collections import Counter

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

tokenize = Tokenizer13a()
NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
scorer, stemming = RougeScorer(NAMES, use_stemmer=False), RougeScorer(NAMES, use_stemmer=True)

CASES = [
    # Plain answers: equal, disjoint, partly right, another order, repeated words.
    ("liver", "liver"),
    ("spleen", "liver"),
    ("The liver is enlarged.", "The liver is enlarged."),
    ("The liver is enlarged.", "The spleen is enlarged."),
    ("enlarged is liver the", "the liver is enlarged"),
    ("liver liver liver liver", "the liver"),
    ("the the the the the the the", "the cat is on the mat"),
    ("Axial", "axial"),
    # Lengths: brevity penalty, equal, longer.
    ("the liver", "the liver is enlarged and shows a lesion"),
    ("a b c d", "a b c d"),
    ("a b c d e f g h", "a b c d"),
    ("a", "a b c d e f g h i j k l m n o p q r s t"),
    # Nothing.
    ("", "liver"),
    ("liver", ""),
    ("", ""),
    ("   ", "liver"),
    ("...", "..."),
    ("!?", "liver"),
    # Numbers, units, ranges.
    ("a 2.5 cm lesion, 1,000 HU.", "A 2.5 cm lesion of 1,000 HU."),
    ("2.5.", "2.5"),
    ("1,2", "1, 2"),
    (".5 mm", "0.5 mm"),
    ("5. mm", "5 mm"),
    ("T1-2", "T1 - 2"),
    ("10-20 mm", "10 - 20 mm"),
    ("-10 HU", "- 10 HU"),
    ("3 x 4 x 5 cm", "3x4x5 cm"),
    ("50%", "50 %"),
    # Punctuation, dashes, quotes, slashes, apostrophes.
    ("left-sided, non-enhancing (cystic) mass; see [1].", "left sided non enhancing cystic mass , see 1"),
    ("isn't the patient's", "is not the patient ' s"),
    ("and/or", "and / or"),
    ('"quoted" text', "quoted text"),
    ("wait...what", "wait ... what"),
    ("a,,b..c", "a , , b . . c"),
    ("e.g. this, i.e. that", "e . g . this , i . e . that"),
    ("x_y z^2 ~ {a} | \\b `c`", "x y z 2 a b c"),
    ("user@host: #1 $5 & more * + < = >", "user @ host : # 1 $ 5 & more"),
    # Entities and line breaks.
    ("a &lt; b &amp; c &gt; d &quot;e&quot;", 'a < b & c > d "e"'),
    ("&amp;lt; twice", "< twice"),
    ("&nbsp; kept", "& nbsp ; kept"),
    ("hyphen-\nated line\nbreak", "hyphenated line break"),
    ("<skipped>liver", "liver"),
    ("  outer \n whitespace\t", "outer whitespace"),
    ("tab\tand\u00a0space\u2003wide", "tab and space wide"),
    ("\u001cseparator\u001finside", "separator inside"),
    # Unicode.
    ("L\u00e9sion h\u00e9patique", "l\u00e9sion h\u00e9patique"),
    ("\u809d\u810f\u80bf\u5927\u3002", "\u809d\u810f \u80bf\u5927"),
    ("37\u00b0C \u00b1 0.5", "37 \u00b0C \u00b1 0.5"),
    ("temperature 300 \u212a", "temperature 300 k"),
    ("\u0130stanbul", "istanbul"),
    ("\u0663.\u0664", "\u0663 . \u0664"),
    ("\u2018curly\u2019 \u2013 dash", "curly dash"),
    # A report.
    (
        "CT shows a hypodense lesion in segment VII of the liver, measuring 2.3 x 1.9 cm, with no enhancement.",
        "Axial CT demonstrates a 2.3 x 1.9 cm hypodense lesion within segment VII of the liver; no enhancement is seen.",
    ),
    # Lines: other order, empty ones, lines without a word, words that two lines share, ties on the way back.
    ("c d\na b", "a b\nc d"),
    ("the liver\n\n...\nis large", "the liver is large\n"),
    ("a b c\nb c d\nc d e", "b c d e\na b c"),
    ("a b a b\nb a b a", "b b a a\na b b a\n a"),
    ("x\nx\nx", "x x\nx x"),
    ("Findings: mass.\r\nImpression: mass.", "Findings: mass.\nImpression: none."),
    ("one line", "two\nlines one"),
    # Stems, as rouge_score takes them on request.
    ("enlarged lesions were calcified bilaterally", "enlargement of the lesion; bilateral calcifications"),
    ("the dying its his kidneys' was flies", "die it kidney fly"),
    ("pulmonary emphysematous changes", "emphysema of the pulmonary arteries changing"),
    # Four tokens and more.
    ("a b c", "a b c"),
    ("the liver is large and the spleen is large", "the spleen is large and the liver is large"),
    ("no focal lesion of the liver is seen", "no focal lesion of the liver"),
    ("no focal lesion of the liver", "no focal lesion of the liver is seen"),
]


def long_text(words, lines, seed):
    """Few distinct words, so that there are many longest common subsequences; more than 64 words, so that rows have several parts."""
    draw = random.Random(seed)
    texts = [draw.choices(["the", "liver", "is", "large", "mass", "no", "2.5", "cm,"], k=words // lines) for _ in range(lines)]
    return "\n".join(" ".join(text) for text in texts)


CASES += [(long_text(*one, 2 * i), long_text(*other, 2 * i + 1)) for i, (one, other) in enumerate([
    ((200, 1), (150, 1)), ((64, 1), (64, 1)), ((65, 1), (128, 1)), ((260, 2), (140, 2)), ((90, 6), (120, 5)), ((30, 10), (300, 3)),
])]


def bleu(prediction, reference, order):
    prediction, reference = tokenize(prediction).split(), tokenize(reference).split()
    runs = lambda tokens, n: Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    precisions = []
    for n in range(1, order + 1):
        possible = max(len(prediction) - n + 1, 0)
        matches = sum((runs(prediction, n) & runs(reference, n)).values())
        precisions.append(matches / possible if possible else 0.0)
    if min(precisions) == 0 or not reference:
        return 0.0
    ratio = len(prediction) / len(reference)
    brevity = 1.0 if ratio > 1.0 else math.exp(1 - 1.0 / ratio)
    return math.exp(sum(math.log(precision) / order for precision in precisions)) * brevity


def case(prediction, reference):
    stripped, target = prediction.strip(), reference.strip()
    scores = scorer.score(target, stripped)
    return {
        "prediction": prediction,
        "reference": reference,
        "tokens": tokenize(prediction).split(),
        "bleu1": bleu(stripped, target, 1),
        "bleu4": bleu(stripped, target, 4),
        **{name: score.fmeasure for name, score in scores.items()},
        "stemmed": [score.fmeasure for score in stemming.score(target, stripped).values()],
    }


print("[\n" + ",\n".join(json.dumps(case(*pair)) for pair in CASES) + "\n]")
