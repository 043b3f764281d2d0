"""Which samples a draw takes, by an implementation of its own, of the made-up dataset in pipeline/prepare/tests/draw.rs.

Needs blake3 (1.0). Run in the repository's root:

    python3 pipeline/prepare/tests/golden/draw.py > pipeline/prepare/tests/golden/draw.txt
"""

import struct

from blake3 import blake3

TASKS = ["caption", "open_vqa", "closed_vqa"]
MISSING = [4, 11]
VOLUMES = 14


def key(name):
    """The id of a name."""
    return blake3(struct.pack("<Q", len(name)) + name.encode()).digest()[:16]


def rank(data, seed):
    return struct.unpack("<Q", blake3(struct.pack("<Q", seed) + data).digest()[:8])[0]


def samples():
    for n in range(240):
        first = n * 5 % VOLUMES
        volumes = [first, (first + 3) % VOLUMES] if n % 10 == 9 else [first]
        task = TASKS[n % 3]
        yield {
            "id": key(f"sample {n}"), "volumes": volumes, "task": task, "split": "test" if n % 8 == 7 else "train",
            "case_id": f"case {first // 2}", "topic": None if task == "caption" else 1 + n // 3 % 5,
        }


def draw(split, counts, seed, group=None, stratum=None):
    drawn, left_out, numbers = [], 0, []
    for task, count in counts:
        asked = [s for s in samples() if s["split"] == split and s["task"] == task]
        rows = [s for s in asked if not set(s["volumes"]) & set(MISSING)]
        left_out += len(asked) - len(rows)
        rows.sort(key=lambda s: (rank(s["id"], seed), s["id"]))
        if group:
            names = {s[group] for s in rows}
            last = (1, 0, "")
            order = sorted(names, key=lambda name: last if name is None else (0, rank(str(name).encode(), seed), str(name)))
            total, chosen = 0, set()
            for name in order:
                total += sum(s[group] == name for s in rows)
                if total <= count:
                    chosen.add(name)
            taken = [s for s in rows if s[group] in chosen]
        elif stratum:
            seen, turns = {}, []
            for s in rows:
                seen[s[stratum]] = seen.get(s[stratum], 0) + 1
                turns.append((seen[s[stratum]], s))
            turns.sort(key=lambda turn: (turn[0], rank(turn[1]["id"], seed), turn[1]["id"]))
            taken = [s for _, s in turns[:count]]
        else:
            taken = rows[:count]
        drawn += taken
        numbers.append(len(taken))
    return drawn, left_out, numbers


if __name__ == "__main__":
    three = [("caption", 20), ("open_vqa", 25), ("closed_vqa", 17)]
    for name, split, counts, seed, group, stratum in [
        ("plain", "train", three, 1, None, None), ("other-seed", "train", three, 2, None, None),
        ("test", "test", [("open_vqa", 5)], 9, None, None),
        ("case", "train", three, 1, "case_id", None), ("case-seed", "train", three, 77, "case_id", None),
        ("topic", "train", [("open_vqa", 30), ("closed_vqa", 40)], 3, "topic", None),
        ("by-topic", "train", three[1:], 5, None, "topic"), ("by-case", "train", three, 6, None, "case_id"),
    ]:
        drawn, left_out, numbers = draw(split, counts, seed, group, stratum)
        asked = ",".join(f"{task}={count}" for task, count in counts)
        words = [name, split, asked, seed, group or "-", stratum or "-", left_out, ",".join(map(str, numbers))]
        print(*words, *(s["id"].hex() for s in drawn))
