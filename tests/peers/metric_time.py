"""BLEU, ROUGE and METEOR of generated reports next to the Python packages, in one run; prints a table.

  metric_time.py PROGRAM WORDNET PUNKT [--pairs 1922] [--rounds 3]

PROGRAM is `metric/examples/score_pairs.rs`, WORDNET the folder that `cargo xtask setup --wordnet` makes, PUNKT
`metric/src/meteor/words/punkt.txt`. The packages are called bare, without `evaluate` around them: sacrebleu's tokenizer and BLEU's
formula, rouge_score, nltk. One thread each, the sides in turn; times are the least of the rounds, means must agree. Needs
sacrebleu 2.6.0, rouge-score 0.1.2 and nltk 3.8.1.
"""

import argparse
import datetime
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import processor

ORGANS = "liver spleen left kidney right kidney aorta bladder colon lungs heart pelvis thyroid".split()
FINDINGS = "mass cyst nodule tumour neoplasm haematoma calculus oedema fracture stones lesions masses".split()
QUALITIES = "large small ill-defined enlarged calcified thickened chronic benign enhancing hypodense".split()
SHOWS = "shows demonstrates reveals suggests indicates".split()


def pairs(count):
    draw = random.Random(5)
    noun = lambda: f"{draw.choice(QUALITIES)} {draw.choice(FINDINGS)}"  # noqa: E731
    sentences = [
        lambda: f"The scan {draw.choice(SHOWS)} a {noun()} in the {draw.choice(ORGANS)}, measuring {draw.randint(1, 9)}.{draw.randint(0, 9)} cm.",
        lambda: f"No {draw.choice(FINDINGS)} or {draw.choice(FINDINGS)} is seen.",
        lambda: f"Dr. Smith noted e.g. {noun()}; {noun()} vs. {noun()}.",
    ]
    text = lambda: " ".join(draw.choice(sentences)() for _ in range(draw.randint(1, 4)))  # noqa: E731
    return [[text(), text()] for _ in range(count)]


def bleu(prediction, reference, order):
    """Of tokens; evaluate's formula without smoothing."""
    runs = lambda tokens, n: Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))  # noqa: E731
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


def packages(punkt):
    """The peers' functions by name."""
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from nltk.translate.meteor_score import single_meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    learned = PunktParameters()
    for line in punkt.read_text(encoding="utf8").splitlines():
        kind, *values = line.split("\t")
        if kind == "abbreviation":
            learned.abbrev_types.add(values[0])
        elif kind == "starter":
            learned.sent_starters.add(values[0])
        elif kind == "collocation":
            learned.collocations.add(tuple(values))
        elif kind.isdigit():
            learned.ortho_context[values[0]] = int(kind)
    sentences, rules = PunktSentenceTokenizer(), NLTKWordTokenizer()
    sentences._params = learned
    words = lambda text: [word for part in sentences.tokenize(text) for word in rules.tokenize(part)]  # noqa: E731
    tokenize = Tokenizer13a()
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=False)

    def both(prediction, reference):
        prediction, reference = tokenize(prediction).split(), tokenize(reference).split()
        bleu(prediction, reference, 1)
        return bleu(prediction, reference, 4)

    return {
        "BLEU-1 and 4": both,
        "ROUGE-1, 2, L and Lsum": lambda prediction, reference: scorer.score(reference, prediction)["rougeLsum"].fmeasure,
        "METEOR": lambda prediction, reference: single_meteor_score(words(reference), words(prediction)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("wordnet", type=Path)
    parser.add_argument("punkt", type=Path)
    parser.add_argument("--pairs", type=int, default=1922)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    given = pairs(args.pairs)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        home = folder / "nltk_data/corpora/wordnet"
        shutil.copytree(args.wordnet, home)
        # What nltk wants of WordNet's folder besides what METEOR reads.
        (home / "lexnames").write_text("".join(f"{number:02}\tfile{number}\t1\n" for number in range(45)))
        (home / "index.sense").write_text("")
        (folder / "nltk_data/corpora/omw-1.4").mkdir()
        (folder / "nltk_data/corpora/omw-1.4/README").write_text("\n")
        os.environ["NLTK_DATA"] = str(folder / "nltk_data")
        (folder / "pairs.json").write_text(json.dumps(given))
        peers = packages(args.punkt)
        # WordNet is loaded by the first call.
        peers["METEOR"]("a mass", "a neoplasm")
        ours, theirs = {}, {}
        for _ in range(args.rounds):
            said = subprocess.run([args.program, args.wordnet, folder / "pairs.json"], capture_output=True, text=True, check=True)
            for name, found in json.loads(said.stdout).items():
                best = ours.get(name)
                seconds = found if name == "wordnet" else found["seconds"]
                ours[name] = (min(seconds, best[0]) if best else seconds, None if name == "wordnet" else found["mean"])
            for name, score in peers.items():
                start = time.perf_counter()
                mean = sum(score(prediction, reference) for prediction, reference in given) / len(given)
                seconds = time.perf_counter() - start
                theirs[name] = (min(seconds, theirs[name][0]) if name in theirs else seconds, mean)
    words = sum(len(text.split()) for pair in given for text in pair)
    print(f"{processor()}; {datetime.date.today()}; {len(given)} pairs, {words} words; the least of {args.rounds} rounds\n")
    print("| metric | med2e3, ms | Python packages, ms | times as fast |\n|---|---|---|---|")
    for name, (seconds, mean) in theirs.items():
        if abs(mean - ours[name][1]) > 1e-9:
            sys.exit(f"{name}: mean {ours[name][1]}, the packages' {mean}")
        print(f"| {name} | {1e3 * ours[name][0]:.1f} | {1e3 * seconds:.0f} | {seconds / ours[name][0]:.0f} |")
    total, peer = sum(ours[name][0] for name in theirs), sum(seconds for seconds, _ in theirs.values())
    print(f"| all | {1e3 * total:.1f} | {1e3 * peer:.0f} | {peer / total:.0f} |")
    print(f"\nWordNet is open after {1e3 * ours['wordnet'][0]:.0f} ms.")


if __name__ == "__main__":
    main()
