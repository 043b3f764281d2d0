"""Makes statistics.json: two systems on the same rows, rows in cases, and what numpy, scipy and statsmodels make of them.

    pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
    python3 make_statistics.py > statistics.json

`a` and `b` are right or wrong, `grouped` too and nearly the same in all rows of a case, `x` and `y` are scores.
"""

import itertools
import json

import numpy as np
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

random = np.random.default_rng(17)
CASES, TOPICS = 11, ["abnormality", "location", "organ", "phase"]
rows = []
for case in range(CASES):
    ease, group = random.normal(0, 1), random.random()
    for _ in range(int(random.integers(2, 9))):
        a, b = int(random.random() < 0.55 + 0.1 * ease), int(random.random() < 0.75 + 0.1 * ease)
        rows.append({
            "case": f"case {case}",
            "topic": TOPICS[int(random.integers(0, 4))],
            "a": a,
            "b": b,
            "grouped": int(random.random() < (0.95 if group < 0.6 else 0.1)),
            "x": round(float(random.beta(2, 1 + a)), 4),
            "y": round(float(random.beta(2, 1.5 + b)), 4),
        })
names = sorted({row["case"] for row in rows})
resamples = [random.integers(0, CASES, CASES).tolist() for _ in range(203)]


def micro(key, of=rows):
    return float(np.mean([row[key] for row in of]))


def macro(key, of=rows):
    return float(np.mean([micro(key, [row for row in of if row["topic"] == topic]) for topic in {row["topic"] for row in of}]))


def percentiles(statistic):
    of = {name: [row for row in rows if row["case"] == name] for name in names}
    values = [statistic([row for case in drawn for row in of[names[case]]]) for drawn in resamples]
    return [float(np.percentile(values, share)) for share in (2.5, 97.5)]


def design_effect(key):
    share, n = micro(key), len(rows)
    residuals = [sum(row[key] - share for row in rows if row["case"] == name) for name in names]
    return float(CASES / (CASES - 1) * np.square(residuals).sum() / n**2 / (share * (1 - share) / n))


def sign_flips(first, second):
    sums = np.array([sum(row[second] - row[first] for row in rows if row["case"] == name) for name in names])
    flipped = np.array(list(itertools.product([1, -1], repeat=CASES))) @ sums
    return float(np.mean(np.abs(flipped) >= abs(sums.sum()) - 1e-9))


effect = design_effect("grouped")
values = {
    "micro_a": micro("a"),
    "macro_x": macro("x"),
    "design_effect_a": design_effect("a"),
    "design_effect_grouped": effect,
    "wilson_grouped": proportion_confint(micro("grouped") * len(rows) / effect, len(rows) / effect, method="wilson"),
    "sign_flips_a_b": sign_flips("a", "b"),
    "sign_flips_x_y": sign_flips("x", "y"),
    "percentiles_micro_x": percentiles(lambda of: micro("x", of)),
    "percentiles_macro_x": percentiles(lambda of: macro("x", of)),
    "percentiles_micro_y_minus_x": percentiles(lambda of: micro("y", of) - micro("x", of)),
}
wilson = [[count, n, *map(float, proportion_confint(count, n, method="wilson"))]
          for count, n in [(6, 6), (0, 6), (1, 1), (0, 100), (44, 73), (13000, 13729)]]
mcnemar = [[one, other, float(binomtest(one, one + other).pvalue) if one + other else 1.0]
           for one, other in [(0, 0), (0, 1), (9, 22), (22, 9), (5, 5), (0, 40), (300, 371), (4000, 4100), (12000, 13000)]]
lists = [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.8, 0.02], [0.02, 0.02, 0.02], [1.0, 1e-9]]
holm = [[ps, multipletests(ps, method="holm")[1].tolist()] for ps in lists]
print(json.dumps({
    "rows": rows, "resamples": resamples, "values": values, "wilson": wilson, "mcnemar": mcnemar, "holm": holm,
}, separators=(",", ":")).replace("},", "},\n").replace("],", "],\n"))
