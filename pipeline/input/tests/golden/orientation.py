"""What nibabel makes of affines: axis codes, and a small ramp brought to the display axes of its plane.

Run in this folder; writes orientation.txt. One case a line:
  nine matrix entries (row major), nibabel's codes, the display array's shape and values (a ramp of shape 2 3 4 in i j k,
  value i + 10 j + 100 k); "-" where nibabel calls an axis unknown.
"""
import itertools

import nibabel as nib
import numpy as np
from nibabel.orientations import aff2axcodes, axcodes2ornt, apply_orientation, io_orientation, ornt_transform

# Display (D, H, W) by the letters in whose direction the index grows.
DISPLAY = {"S": "SPL", "I": "SPL", "A": "PIL", "P": "PIL", "R": "LIP", "L": "LIP"}

ramp = np.fromfunction(lambda i, j, k: i + 10 * j + 100 * k, (2, 3, 4), dtype=int)


def line(matrix):
    affine = np.eye(4)
    affine[:3, :3] = matrix
    codes = aff2axcodes(affine)
    head = " ".join(repr(float(v)) for v in matrix.ravel())
    if None in codes:
        return f"{head} - -"
    target = axcodes2ornt(DISPLAY[codes[2]])
    display = apply_orientation(ramp, ornt_transform(io_orientation(affine), target))
    values = ",".join(str(v) for v in display.ravel())
    return f"{head} {''.join(codes)} {'x'.join(map(str, display.shape))}:{values}"


rng = np.random.default_rng(0)
lines = []
for axes in itertools.permutations(range(3)):
    for signs in itertools.product([1.0, -1.0], repeat=3):
        matrix = np.zeros((3, 3))
        for voxel, (world, sign) in enumerate(zip(axes, signs)):
            matrix[world, voxel] = sign * [0.75, 0.8, 2.5][voxel]
        lines.append(line(matrix))
for _ in range(60):  # oblique, sheared and badly scaled ones
    lines.append(line((rng.normal(size=(3, 3)) * rng.choice([0.3, 1.0, 5.0], size=3)).round(3)))
lines.append(line(np.zeros((3, 3))))
with open("orientation.txt", "w") as out:
    out.write(f"# nibabel {nib.__version__}, numpy {np.__version__}\n" + "\n".join(lines) + "\n")
