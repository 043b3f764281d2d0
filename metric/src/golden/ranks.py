"""Makes ranks.json: pairs of lists and Spearman's rank correlation, ties by their middle rank.

    pip install numpy==2.4.6 scipy==1.17.1
    python3 ranks.py > ranks.json
"""

import json

import numpy as np
from scipy.stats import spearmanr

random = np.random.default_rng(8)
pairs = [([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [3, 2, 1]), ([1, 1, 2, 2], [1, 2, 1, 2]), ([0, 0, 0, 1], [0.5, 0.25, 0.25, 0])]
for length in (2, 8, 8, 8, 16, 32):
    first, second = random.random((2, length)).round(3).tolist()
    pairs.append((first, second))
    # With many ties, and alike.
    rough = [round(value, 1) for value in first]
    pairs.append((rough, [round(value + 0.2 * random.random(), 1) for value in rough]))
print("[")
print(",\n".join(json.dumps({"first": a, "second": b, "correlation": float(spearmanr(a, b).statistic)}) for a, b in pairs))
print("]")
