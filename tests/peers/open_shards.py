"""Opens a prepared dataset with pyarrow, DuckDB and Hugging Face datasets, and compares voxels with nibabel and torch.

    python3 -m pip install pyarrow duckdb datasets nibabel pillow torch
    python3 tests/peers/open_shards.py DATASET ROOT

ROOT is the data root that the dataset was prepared from. Prints the largest difference; ends with 1 beyond the bound.
"""

import glob
import json
import os
import sys

import duckdb
import nibabel
import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import load_dataset
from PIL import Image

dataset, root = sys.argv[1:3]
index = json.load(open(f"{dataset}/dataset.json"))
shape, code = tuple(index["voxels"]["shape_dhw"]), index["voxels"]["code"]
dtype = {"u8": "<u1", "i16": "<i2", "f32": "<f4"}[code]
bound = {"u8": 1 / 510, "i16": 1 / 65534, "f32": 0}[code] + 2e-6


def source(path):
    """The series as M3D's preparation reads it, float32, slices first."""
    if os.path.isdir(path):
        names = sorted(os.listdir(path), key=lambda name: int(name.split(".")[0]))
        slices = [np.asarray(Image.open(os.path.join(path, name)).convert("L"), np.float32) / 255 for name in names]
        # The official preparation keeps the slices of the most common shape.
        shapes = [each.shape for each in slices]
        shape = max(shapes, key=shapes.count)
        return np.stack([each for each in slices if each.shape == shape])
    image = nibabel.load(path)
    return np.asarray(image.get_fdata(dtype=np.float32)).transpose(2, 1, 0)


def m3d(volume):
    """Min-max, crop to what is above zero, trilinear: the official steps with torch alone."""
    volume = volume - volume.min()
    volume = volume / max(volume.max(), 1e-8)
    for axis in range(3):
        kept = np.flatnonzero((volume > 0).any(axis=tuple(a for a in range(3) if a != axis)))
        volume = np.take(volume, range(kept[0], kept[-1] + 1), axis)
    tensor = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
    return torch.nn.functional.interpolate(tensor, size=shape, mode="trilinear", align_corners=False)[0, 0].numpy()


worst, jpeg_worst, rows = 0.0, 0.0, 0
for path in sorted(glob.glob(f"{dataset}/volumes/*.parquet")):
    table = pq.read_table(path)
    for row in table.to_pylist():
        values = np.frombuffer(row["voxels"], dtype).reshape(shape) * index["voxels"]["scale"] + index["voxels"]["offset"]
        place = os.path.join(root, row["source_path"])
        difference = float(np.abs(values - m3d(source(place))).max())
        if os.path.isdir(place) and any(name.endswith(".jpeg") for name in os.listdir(place)):
            jpeg_worst = max(jpeg_worst, difference)
        else:
            worst = max(worst, difference)
        rows += 1
print(f"pyarrow: {rows} volumes; largest difference {worst:.3e} (bound {bound:.3e}), from JPEG {jpeg_worst:.3e}")

duck = duckdb.sql(f"SELECT count(*), min(octet_length(voxels)) FROM '{dataset}/volumes/*.parquet'").fetchall()[0]
texts = duckdb.sql(f"SELECT task, count(*) FROM '{dataset}/samples/*.parquet' GROUP BY task ORDER BY task").fetchall()
print(f"DuckDB: {duck[0]} volumes of {duck[1]} bytes; {texts}")

hub = load_dataset("parquet", data_files=f"{dataset}/volumes/*.parquet", split="train")
print(f"datasets: {len(hub)} volumes, first voxels {len(hub[0]['voxels'])} bytes, columns {hub.column_names}")

# JPEG decoders round the inverse transform differently: this project's and Pillow's differ by up to about two levels.
same = worst <= bound and jpeg_worst <= bound + 3 / 255 and rows == duck[0] == len(hub)
print("equal within the storage type's error" if same else "DIFFERENT")
sys.exit(0 if same else 1)
