"""What NumPy writes of arrays of every type, in both byte orders and both array orders, and in all format versions.

Run in this folder; writes npy/ and npy.txt. One case a line: path below npy/, the shape in D H W, the values in C order
as float32.
"""
import os

import numpy as np

CASES = [
    # name, type, Fortran order, format version, shape
    ("bool", "|b1", False, (1, 0), (2, 3, 4)),
    ("u1", "|u1", False, (1, 0), (1, 2, 3, 4)),
    ("i1", "|i1", True, (1, 0), (2, 3, 4)),
    ("u2", "<u2", False, (2, 0), (2, 3, 4)),
    ("u2_big", ">u2", True, (1, 0), (2, 3, 4)),
    ("i2", "<i2", False, (1, 0), (2, 3, 4)),
    ("i2_big", ">i2", True, (3, 0), (1, 2, 3, 4)),
    ("u4", "<u4", True, (1, 0), (2, 3, 4)),
    ("i4_big", ">i4", False, (1, 0), (2, 3, 4)),
    ("u8_big", ">u8", False, (1, 0), (2, 3, 4)),
    ("i8", "<i8", True, (2, 0), (2, 3, 4)),
    ("f2", "<f2", False, (1, 0), (2, 3, 4)),
    ("f2_big", ">f2", True, (1, 0), (2, 3, 4)),
    ("f4", "<f4", False, (1, 0), (1, 2, 3, 4)),
    ("f4_big", ">f4", False, (1, 0), (2, 3, 4)),
    ("f8", "<f8", True, (1, 0), (2, 3, 4)),
    ("f8_big", ">f8", False, (3, 0), (2, 3, 4)),
]

os.makedirs("npy", exist_ok=True)
lines = []
rng = np.random.default_rng(0)
for name, kind, fortran, version, shape in CASES:
    kind = np.dtype(kind)
    if kind.kind == "f":
        # All magnitudes that the type has, its smallest number among them.
        values = rng.normal(size=24) * 10.0 ** rng.integers(-6, 4, size=24)
        values[:2] = [np.finfo(kind).smallest_subnormal if kind.itemsize == 2 else 0.5, 0.0]
    else:
        low, high = (0, 1) if kind.kind == "b" else (max(np.iinfo(kind).min, -9999), min(np.iinfo(kind).max, 9999))
        values = rng.integers(low, high, size=24, endpoint=True)
    array = np.asarray(values.reshape(shape), dtype=kind, order="F" if fortran else "C")
    with open(f"npy/{name}.npy", "wb") as out:
        np.lib.format.write_array(out, array, version=version, allow_pickle=False)
    read = np.load(f"npy/{name}.npy").reshape(shape[-3:]).astype(np.float32)
    lines.append(f"{name}.npy {'x'.join(map(str, read.shape))}:{','.join(repr(float(v)) for v in read.ravel())}")
with open("npy.txt", "w") as out:
    out.write(f"# numpy {np.__version__}\n" + "\n".join(lines) + "\n")
