"""Makes retrieval.json: recalls of similarity matrices by torch.topk, and each row's argmax.

    pip install torch==2.11.0
    python3 retrieval.py > retrieval.json

A row's own partner is the item of its number, as M3D's evaluation has it; by group, any item of the row's group counts. No two
scores of a row are equal, since torch.topk may then take either.
"""

import json

import torch

generator = torch.Generator().manual_seed(1)


def recalls(scores, right):
    return [right.gather(1, scores.topk(k, dim=1).indices).any(1).float().mean().item() for k in (1, 5, 10)]


def case(items, groups, signal):
    # Shuffled whole numbers, brought to what single precision holds exactly.
    noise = torch.stack([torch.randperm(items, generator=generator) for _ in range(items)])
    scores = noise / 64 + signal * torch.eye(items) - 0.5
    assert all(len(row.unique()) == items for row in scores)
    of = torch.randint(groups, (items,), generator=generator)
    right = of[:, None] == of[None, :]
    return {
        "items": items,
        "scores": scores.flatten().tolist(),
        "groups": of.tolist(),
        "recalls": [recalls(scores, torch.eye(items, dtype=torch.bool)), recalls(scores, right)],
        "best": scores.argmax(1).tolist(),
    }


# The signal is between two whole numbers, so that it makes no ties.
cases = [case(10, 4, 0.0), case(12, 12, 4.5 / 64), case(25, 8, 0.0), case(25, 8, 10.5 / 64), case(40, 20, 20.5 / 64)]
cases.append(case(16, 1, 0.0))
print("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]")
