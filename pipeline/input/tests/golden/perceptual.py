"""The looks of made-up volumes by numpy, for pipeline/input/src/perceptual.rs: shape, seed, the 64 bytes as hex digits.

    python3 pipeline/input/tests/golden/perceptual.py > pipeline/input/tests/golden/perceptual.txt
"""

import numpy as np

REGIONS, SAMPLES, MARGIN, PLACES = (6, 16, 16), (3, 5, 5), 2, 256


def blocks(shape, seed):
    d, h, w = np.meshgrid(*[np.arange(n, dtype=np.uint64) for n in shape], indexing="ij")
    part = lambda n, length, parts: n * np.uint64(parts) // np.uint64(length)
    noise = lambda n: ((n + np.uint64(7_000_021 * seed)) * np.uint64(2_654_435_761) % np.uint64(1 << 32)) >> np.uint64(20)
    coarse = (part(d, shape[0], 5) * np.uint64(11) + part(h, shape[1], 9)) * np.uint64(13) + part(w, shape[2], 11)
    fine = (d * np.uint64(shape[1]) + h) * np.uint64(shape[2]) + w
    return (noise(coarse) // np.uint64(4) + noise(fine) // np.uint64(64)).astype(np.int16)


def places():
    inner = (REGIONS[0], REGIONS[1] - 2 * MARGIN, REGIONS[2] - 2 * MARGIN)
    pairs = []
    for index in np.ndindex(*inner):
        for axis in range(3):
            other = list(index)
            other[axis] += 1
            if other[axis] < inner[axis]:
                pairs.append((np.ravel_multi_index(index, inner), np.ravel_multi_index(other, inner)))
    state = 1
    for place in range(PLACES):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        other = place + (state >> 33) % (len(pairs) - place)
        pairs[place], pairs[other] = pairs[other], pairs[place]
    return np.array(pairs[:PLACES])


def look(volume):
    """256 flags of the brighter second region, 256 flags of a difference."""
    index = []
    for length, regions, samples in zip(volume.shape, REGIONS, SAMPLES):
        count = regions * samples
        index.append((2 * np.arange(count) + 1) * length // (2 * count))
    cells = volume[np.ix_(*index)].astype(np.float32)
    cells = cells.reshape(6, 3, 16, 5, 16, 5).transpose(0, 2, 4, 1, 3, 5).reshape(6, 16, 16, -1)
    medians = np.median(cells, -1)[:, MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()
    ordered = np.sort(medians)
    twentieth = len(ordered) // 20
    least = np.float32(0.02) * (ordered[-1 - twentieth] - ordered[twentieth])
    first, second = places().T
    step = medians[second] - medians[first]
    return step > least, np.abs(step) > least


def is_like(a, b):
    """The rule for two looks."""
    both = a[1] & b[1]
    count, unequal = both.sum(), (both & (a[0] != b[0])).sum()
    mine, theirs = (both & a[0]).sum(), (both & b[0]).sum()
    expected = mine * (count - theirs) + theirs * (count - mine)
    return count > 0 and expected >= 32 * count and 9 * unequal * count <= expected


if __name__ == "__main__":
    for shape, seed in [((20, 70, 90), 3), ((6, 16, 16), 1), ((5, 11, 13), 2), ((40, 33, 128), 4), ((1, 64, 64), 5), ((96, 80, 80), 6)]:
        flags = np.concatenate(look(blocks(shape, seed)))
        print(*shape, seed, np.packbits(flags, bitorder="little").tobytes().hex())
