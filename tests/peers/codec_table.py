"""What a voxel cell costs on disk: `codec_table.py DATASET...` (datasets of different codes, by `med2e3-data prepare`).

Prints a Markdown table: code, codec, plain cells or byte planes (all low bytes, then all high bytes), MiB a cell, ratio, and MB/s of
uncompressed bytes for compressing and decompressing on one thread. Needs pyarrow and numpy.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CODECS = [("none", None), ("lz4", ("lz4_raw", None)), ("zstd 1", ("zstd", 1)), ("zstd 3", ("zstd", 3)), ("zstd 9", ("zstd", 9))]


def cells(dataset, limit=16):
    """The cells and the width of a code in bytes."""
    index = json.loads((dataset / "dataset.json").read_text())
    width = {"u8": 1, "i16": 2, "f32": 4}[index["voxels"]["code"]]
    found = []
    for shard in index["volumes"]:
        column = pq.read_table(dataset / shard["path"], columns=["voxels"])["voxels"]
        found += [cell.as_py() for cell in column][: limit - len(found)]
    return index["voxels"]["code"], width, found


def planes(cell, width):
    return np.frombuffer(cell, np.uint8).reshape(-1, width).T.tobytes()


def measure(cells, codec):
    if codec is None:
        return sum(map(len, cells)), float("nan"), float("nan")
    codec = pa.Codec(codec[0], compression_level=codec[1])
    start = time.perf_counter()
    packed = [codec.compress(cell) for cell in cells]
    middle = time.perf_counter()
    for cell, data in zip(cells, packed):
        codec.decompress(data, len(cell))
    end = time.perf_counter()
    return sum(len(data) for data in packed), middle - start, end - middle


def main():
    print("| code | cells | codec | MiB a cell | ratio | compress MB/s | decompress MB/s |")
    print("|---|---|---|---|---|---|---|")
    for dataset in map(Path, sys.argv[1:]):
        code, width, plain = cells(dataset)
        raw = sum(map(len, plain))
        for form, data in [("plain", plain)] + ([("planes", [planes(cell, width) for cell in plain])] if width > 1 else []):
            for name, codec in CODECS:
                size, slow, fast = measure(data, codec)
                speed = [f"{raw / 1e6 / seconds:.0f}" if seconds == seconds else "-" for seconds in (slow, fast)]
                print(f"| {code} | {form} | {name} | {size / len(data) / 2**20:.2f} | {raw / size:.2f} | {speed[0]} | {speed[1]} |")


main()
