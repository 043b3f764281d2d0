"""What nibabel writes and reads of NIfTI-1 pairs, NIfTI-2 files and pairs, in both byte orders, plain and gzipped.

Run in this folder; writes nifti/ and nifti.txt. One case a line:
  path below nifti/, nibabel's axis codes, zooms in i j k (rounded to float32), the display array's shape and its
  get_fdata() values as float32.
"""
import gzip
import os

import nibabel as nib
import numpy as np
from nibabel.orientations import aff2axcodes, axcodes2ornt, apply_orientation, io_orientation, ornt_transform

# Display (D, H, W) by the letters in whose direction the index grows.
DISPLAY = {"S": "SPL", "I": "SPL", "A": "PIL", "P": "PIL", "R": "LIP", "L": "LIP"}

ramp = np.fromfunction(lambda i, j, k: i + 10 * j + 100 * k, (2, 3, 4), dtype=int)
AXIAL = np.diag([-0.75, 0.8, 2.5, 1.0])
SAGITTAL = np.array([[0, 0, 3.0, -7], [0.5, 0, 0, 4], [0, -0.6, 0, 9], [0, 0, 0, 1]])


def make(name, kind, dtype, order, affine, slope=None, offset=None, shape=None):
    values = ramp if shape is None else ramp.reshape(shape)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image = kind(values.astype(dtype), affine, header)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(slope, offset)
    if kind in (nib.Nifti1Image, nib.Nifti2Image):
        path = f"nifti/{name}.nii"
        bytes_ = {path: image.to_bytes()}
    else:
        files = image.make_file_map({"header": f"nifti/{name}.hdr", "image": f"nifti/{name}.img"})
        image.to_file_map(files)
        path = f"nifti/{name}.hdr"
        bytes_ = {}
    for target, content in bytes_.items():
        with open(target, "wb") as out:
            out.write(content)
    return path


def packed(path):
    """The same file gzipped, under a name with .gz."""
    with open(path, "rb") as source, open(path + ".gz", "wb") as target:
        target.write(gzip.compress(source.read(), mtime=0))
    os.remove(path)
    return path + ".gz"


def line(path):
    image = nib.load(path)
    codes = aff2axcodes(image.affine)
    target = axcodes2ornt(DISPLAY[codes[2]])
    values = image.get_fdata()
    values = values.reshape(values.shape[:3])
    display = apply_orientation(values, ornt_transform(io_orientation(image.affine), target)).astype(np.float32)
    zooms = ",".join(repr(float(np.float32(z))) for z in image.header.get_zooms()[:3])
    numbers = ",".join(repr(float(v)) for v in display.ravel())
    return f"{path[6:]} {''.join(codes)} {zooms} {'x'.join(map(str, display.shape))}:{numbers}"


os.makedirs("nifti", exist_ok=True)
lines = []
for order, letter in (("<", "le"), (">", "be")):
    lines.append(line(make(f"two_{letter}", nib.Nifti2Image, np.int16, order, AXIAL)))
    lines.append(line(packed(make(f"two_{letter}_packed", nib.Nifti2Image, np.float64, order, SAGITTAL))))
    lines.append(line(make(f"one_pair_{letter}", nib.Nifti1Pair, np.uint16, order, SAGITTAL, 0.5, -1024)))
    lines.append(line(make(f"two_pair_{letter}", nib.Nifti2Pair, np.float32, order, AXIAL)))
lines.append(line(make("two_trailing", nib.Nifti2Image, np.uint8, "<", AXIAL, shape=(2, 3, 4, 1, 1))))
lines.append(line(make("long", nib.Nifti1Image, np.int64, "<", AXIAL)))
lines.append(line(make("long_be", nib.Nifti2Image, np.uint64, ">", AXIAL)))
path = make("packed_pair", nib.Nifti1Pair, np.int16, "<", AXIAL)
packed(path.replace(".hdr", ".img"))
lines.append(line(packed(path)))
with open("nifti.txt", "w") as out:
    out.write(f"# nibabel {nib.__version__}, numpy {np.__version__}\n" + "\n".join(lines) + "\n")
