"""Makes metrics.json: BLEU@1 and ROUGE@1 of single answers by the reference implementations.

    pip install sacrebleu==2.6.0 rouge-score==0.1.2
    python3 metrics.py > metrics.json

Hugging Face's `bleu` is sacrebleu's tokenizer 13a (its copy splits where sacrebleu joins by spaces) and the formula
of `bleu1` below, of tensorflow/nmt's bleu.py for order 1 without smoothing. It fails on an empty text; there the score
is 0. Predictions and references are stripped before they are scored.
"""

import json
import math
from collections import Counter

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

tokenize = Tokenizer13a()
scorer = RougeScorer(["rouge1"], use_stemmer=False)

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
]


def bleu1(prediction, reference):
    prediction, reference = tokenize(prediction).split(), tokenize(reference).split()
    matches = sum((Counter(prediction) & Counter(reference)).values())
    if matches == 0:
        return 0.0
    precision = matches / len(prediction)
    ratio = len(prediction) / len(reference)
    brevity = 1.0 if ratio > 1.0 else math.exp(1 - 1.0 / ratio)
    return math.exp(math.log(precision)) * brevity


def case(prediction, reference):
    stripped, target = prediction.strip(), reference.strip()
    return {
        "prediction": prediction,
        "reference": reference,
        "tokens": tokenize(prediction).split(),
        "bleu1": bleu1(stripped, target),
        "rouge1": scorer.score(target, stripped)["rouge1"].fmeasure,
    }


print("[\n" + ",\n".join(json.dumps(case(*pair)) for pair in CASES) + "\n]")
