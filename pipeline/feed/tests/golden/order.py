"""Writes order.json: which sample is at which position, computed from the description alone (numbers of Python, no library).

    python3 order.py > order.json
"""

import json

MASK32, MASK64, ROUNDS = (1 << 32) - 1, (1 << 64) - 1, 12

# BLAKE3 of one block, keyed, with as many bytes as are asked for (its specification, sections 2.2 to 2.6).
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, ROOT, KEYED_HASH = 1, 2, 8, 16


def compress(chaining, words, counter, length, flags):
    v = list(chaining) + IV[:4] + [counter & MASK32, counter >> 32, length, flags]

    def rotated(x, by):
        return (x >> by | x << (32 - by)) & MASK32

    def g(a, b, c, d, x, y):
        for message, by_d, by_b in ((x, 16, 12), (y, 8, 7)):
            v[a] = (v[a] + v[b] + message) & MASK32
            v[d] = rotated(v[d] ^ v[a], by_d)
            v[c] = (v[c] + v[d]) & MASK32
            v[b] = rotated(v[b] ^ v[c], by_b)

    message = list(words)
    for _ in range(7):
        places = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
        places += [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
        for number, place in enumerate(places):
            g(*place, message[2 * number], message[2 * number + 1])
        message = [message[place] for place in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ chaining[i] for i in range(8)]


def keyed(key, text, count):
    assert len(text) <= 64
    words = [int.from_bytes(text.ljust(64, b"\0")[i : i + 4], "little") for i in range(0, 64, 4)]
    key = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    flags, found = CHUNK_START | CHUNK_END | ROOT | KEYED_HASH, b""
    while len(found) < count:
        block = compress(key, words, len(found) // 64, len(text), flags)
        found += b"".join(word.to_bytes(4, "little") for word in block)
    return found[:count]


def mixed(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK64
    return x ^ x >> 31


SELECTION, SEED = bytes(range(32)), 7


def keys(number, word, own=None):
    text = b"order 2" + SEED.to_bytes(8, "little") + number.to_bytes(8, "little") + word.encode()
    found = keyed(SELECTION, text, 8 * ROUNDS)
    found = [int.from_bytes(found[i : i + 8], "little") for i in range(0, 8 * ROUNDS, 8)]
    return found if own is None else [key ^ mixed(own + 1) for key in found]


def permuted(count, keys, place):
    bits = max(1, (count - 1).bit_length())
    low = bits - bits // 2
    while True:
        left, right = place >> low, place & ((1 << low) - 1)
        for even, odd in zip(keys[::2], keys[1::2]):
            left ^= mixed((right + even) & MASK64) & ((1 << (bits - low)) - 1)
            right ^= mixed((left + odd) & MASK64) & ((1 << low) - 1)
        place = left << low | right
        if place < count:
            return place


def shuffled(samples, positions):
    return [permuted(samples, keys(p // samples, "epoch"), p % samples) for p in positions]


TASKS = ["caption", "open_vqa", "closed_vqa"]


def task(sample):
    return sample * 7 % 11 % 3


def mix(samples, segments, positions):
    """Segments: where they begin, and their weights."""
    members = [[s for s in range(samples) if task(s) == t] for t in range(3)]

    def share(weights, t, end):
        upto = lambda t: end * sum(weights[: t + 1]) // sum(weights)
        return upto(t) - (upto(t - 1) if t else 0)

    def count(t, end):
        """Of all samples before a position, segment by segment."""
        ends = [begin for begin, _ in segments[1:]] + [end]
        parts = [(weights, min(end, last) - begin) for (begin, weights), last in zip(segments, ends) if begin < end]
        return sum(share(weights, t, length) for weights, length in parts)

    found = []
    for p in positions:
        block = p // 1000
        place = permuted(1000, keys(block, "block"), p % 1000)
        for t in range(3):
            before = count(t, block * 1000)
            here = count(t, block * 1000 + 1000) - before
            if place < here:
                own, number = members[t], before + place
                epoch, inside = divmod(number, len(own))
                found.append(own[permuted(len(own), keys(epoch, TASKS[t]), inside)])
                break
            place -= here
    return found


def volume(sample):
    """Of 13 volumes; every 17th sample shows none."""
    return None if sample % 17 == 16 else sample * sample % 13


def grouped(samples, k, epochs):
    volumes = [[s for s in range(samples) if volume(s) == v] for v in range(13)]
    volumes = [texts for texts in volumes if texts] + [[s] for s in range(samples) if volume(s) is None]
    found = []
    for epoch in range(epochs):
        texts = [
            [own[permuted(len(own), keys(epoch, "texts", v), i)] for i in range(len(own))] for v, own in enumerate(volumes)
        ]
        full = [own[i : i + k] for own in texts for i in range(0, len(own) - len(own) % k, k)]
        rests = {v: own[len(own) - len(own) % k :] for v, own in enumerate(texts) if len(own) % k}
        order = list(rests)
        order = [order[permuted(len(order), keys(epoch, "rests"), i)] for i in range(len(order))]
        pairs, open_rests = [], {}
        for v in order:
            partners = open_rests.get(k - len(rests[v]), [])
            if partners:
                pairs += [partners.pop(), v]
            else:
                open_rests.setdefault(len(rests[v]), []).append(v)
        joined = [s for v in pairs + [v for v in order if v not in pairs] for s in rests[v]]
        groups = full + [joined[i : i + k] for i in range(0, len(joined) - len(joined) % k, k)]
        if groups:
            groups = [groups[permuted(len(groups), keys(epoch, "groups"), i)] for i in range(len(groups))]
        found += [s for group in groups for s in group] + joined[len(joined) - len(joined) % k :]
    return found


def length(sample):
    return 1 + sample * sample * 5 % 23


def buckets(samples, window, unit, epochs):
    found = []
    for epoch in range(epochs):
        order = shuffled(samples, range(epoch * samples, (epoch + 1) * samples))
        for number, begin in enumerate(range(0, samples, window)):
            texts = order[begin : begin + window]
            whole = texts[: len(texts) // unit * unit]
            by_length = sorted(whole, key=lambda s: (length(s), texts.index(s)))
            units = [sorted(by_length[i : i + unit], key=texts.index) for i in range(0, len(whole), unit)]
            found += [s for i in range(len(units)) for s in units[permuted(len(units), keys(epoch, "buckets", number), i)]]
            found += texts[len(whole) :]
    return found


first = list(range(8))
shuffles = []
for samples, positions in [
    (1, [0, 1, 2]),
    (2, first),
    (3, first + [10**12]),
    (10, list(range(20))),
    (1009, first + [1008, 1009, 3026]),
    (1000092, first + [1000091, 1000092, 5000000]),
    (10**9, first + [10**9 - 1, 10**9]),
]:
    shuffles.append({"samples": samples, "positions": positions, "found": shuffled(samples, positions)})
mixes = []
half, rare, last = [500000000, 250000000, 250000000], [1000000000, 3000000000, 7], [100000000, 200000000, 700000000]
none = [0, 1000000000, 0]
for segments in (
    [(0, half)],
    [(0, rare)],
    [(0, last)],
    [(0, half), (1000, last)],
    [(0, none), (2000, rare), (3000, half), (54000, last)],
):
    positions = list(range(12)) + [999, 1000, 1001, 1999, 2000, 2001, 3333, 53999, 54000, 54001, 54321, 10**9]
    mixes.append({"samples": 101, "segments": segments, "positions": positions, "found": mix(101, segments, positions)})
bucketed = [
    {"samples": n, "window": w, "unit": u, "found": buckets(n, w, u, 2)}
    for n, w, u in ((1, 4, 2), (3, 4, 4), (60, 20, 5), (61, 16, 4), (100, 1000, 8), (101, 8, 8), (97, 30, 1))
]
groups = [{"samples": n, "texts": k, "found": grouped(n, k, 2)} for n, k in ((1, 4), (3, 4), (60, 2), (61, 4), (100, 8))]
assert keyed(bytes(range(32)), b"", 4) != keyed(bytes(32), b"", 4)
print(json.dumps({"shuffled": shuffles, "mix": mixes, "grouped": groups, "buckets": bucketed}))
