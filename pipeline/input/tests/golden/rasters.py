"""Writes rasters/ (NRRD, MetaImage and MGH files) and rasters.txt: what SimpleITK, and of MGH files nibabel, reads from them.

A line is: file, axis codes of the source, spacing along i, j and k, shape and values along D, H and W of the display.
Run: python rasters.py (SimpleITK 2.5.7, nibabel 5.4.2, numpy 2.4.6)
"""

import gzip
import itertools
import os
import shutil

import nibabel
import numpy as np
import SimpleITK as sitk

os.chdir(os.path.dirname(os.path.abspath(__file__)))
shutil.rmtree("rasters", ignore_errors=True)
os.makedirs("rasters")
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.integers(-1024, 1500, (4, 3, 2)).astype(np.int16)
# The slices stay slices: the codes of the display for the patient axis of k.
DISPLAY = {"S": "LPS", "I": "LPS", "A": "LIP", "P": "LIP", "L": "PIL", "R": "PIL"}
TYPES = {
    "signed char": "MET_CHAR i1", "unsigned char": "MET_UCHAR u1", "short": "MET_SHORT i2",
    "unsigned short": "MET_USHORT u2", "int": "MET_INT i4", "unsigned int": "MET_UINT u4", "float": "MET_FLOAT f4",
    "double": "MET_DOUBLE f8", "long long": "MET_LONG_LONG i8", "unsigned long long": "MET_ULONG_LONG u8",
}
lines = []


def add(name, image=None):
    """Adds a line for a file."""
    image = sitk.ReadImage(f"rasters/{name}") if image is None else image
    codes = sitk.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(image.GetDirection())
    shown = sitk.GetArrayFromImage(sitk.DICOMOrient(image, DISPLAY[codes[2]]))
    shape = "x".join(str(n) for n in shown.shape)
    values = ",".join(str(value) for value in shown.reshape(-1).tolist())
    spacing = ",".join(f"{mm:.6g}" for mm in image.GetSpacing())
    lines.append(f"{name} {codes} {spacing} {shape}:{values}\n")


def write(name, header, data):
    """Writes a file by hand and adds its line."""
    with open(f"rasters/{name}", "wb") as file:
        file.write(header.encode() + data)
    add(name)


def as_type(code):
    """The values in a number type, wrapped where it is small."""
    return VALUES.astype(code) if code in ("f4", "f8") else VALUES.astype(np.int64).astype(code)


# What SimpleITK itself writes: orientations that are straight and oblique, raw and compressed, attached and detached.
turns = list(itertools.permutations(range(3)))
for n, name in enumerate(["a.nrrd", "b.nrrd", "c.nhdr", "d.mha", "e.mha", "f.mhd", "g.mha", "h.nrrd"]):
    direction = np.zeros((3, 3))
    for axis, world in enumerate(turns[n % 6]):
        direction[world, axis] = -1 if n >> axis & 1 else 1
    if n > 5:
        angle = 0.3
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        direction = turn @ direction
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing((0.5 + n / 8, 0.75, 2.5))
    image.SetOrigin((10, -20, 30))
    image.SetDirection(direction.reshape(-1).tolist())
    sitk.WriteImage(image, f"rasters/{name}", useCompression=n % 2 == 1)
    add(name)

SHORT = VALUES.astype("<i2").tobytes()
BASE = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n"
SPACED = "space directions: (0.5,0,0) (0,0.75,0) (0,0,2)\nspace origin: (1,2,3)\n"
for kind, code in TYPES.items():
    for order, sign in (("little", "<"), ("big", ">")):
        met, number = code.split()
        data = as_type(number).astype(sign + number).tobytes()
        stem = f"{number}_{order}"
        write(f"{stem}.nrrd", f"NRRD0005\ntype: {kind}\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: {order}\n\n", data)
        header = f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {order == 'big'}\n"
        write(f"{stem}.mha", f"{header}DimSize = 2 3 4\nElementType = {met}\nElementDataFile = LOCAL\n", data)
for space in ["left-posterior-superior", "LPS", "RAS", "right-anterior-superior", "LAS", "left-anterior-superior", "scanner-xyz"]:
    write(f"space_{space}.nrrd", f"{BASE}space: {space}\n{SPACED}\n", SHORT)
write("space_dimension.nrrd", BASE + "space dimension: 3\nspace directions: (0,0.5,0) ( 0.75 ,0,0) (0,0,-2)\n\n", SHORT)
write("spacings.nrrd", BASE + "spacings: 0.5 0.75 2\n\n", SHORT)
write("negative.nrrd", BASE + "spacings: -0.5 0.75 2\n\n", SHORT)
write("comments.nrrd", BASE.replace("type", "# a comment\nkey:=value\nTYPE").replace("0004", "0001") + "content: x\n\n", SHORT)
write("lines.nrrd", (BASE + "\n").replace("\n", "\r\n"), SHORT)
write("skip.nrrd", BASE + "line skip: 2\nbyte skip: 3\n\n", b"one\ntwo\nabc" + SHORT)
write("end.nrrd", BASE + "byteskip: -1\n\n", b"abcdefg" + SHORT)
write("gzip.nrrd", BASE.replace("raw", "gz") + "byte skip: 5\n\n", gzip.compress(b"12345" + SHORT, mtime=0))
with open("rasters/numbers.raw", "wb") as file:
    file.write(b"JUNK" + SHORT)
write("detached.nhdr", BASE + "data file: ./numbers.raw\nbyte skip: 4\n", b"")
META = "ObjectType = Image\nNDims = 3\nBinaryData = True\n"
LAST = "DimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = "
write("matrix.mha", META + "TransformMatrix = 0 1 0 0 0 1 1 0 0\nElementSpacing = 0.5 0.75 2\n" + LAST + "LOCAL\n", SHORT)
write("rotation.mha", META + "Rotation = 0 0 -1 0 1 0 1 0 0\nElementSize = 0.5 0.75 2\n" + LAST + "LOCAL\n", SHORT)
write("turned.mha", META + "AnatomicalOrientation = RAI\nElementSpacing = -1 2 3\n" + LAST + "LOCAL\n", SHORT)
write("plain.mha", META.replace("BinaryData = True\n", "") + LAST.replace(" = ", "=") + "LOCAL\r\n", SHORT)
write("header.mhd", META + "HeaderSize = 4\n" + LAST + "numbers.raw\n", b"")
write("last.mhd", META + "HeaderSize = -1\n" + LAST + "numbers.raw\n", b"")
write("long.mha", META + LAST.replace("SHORT", "LONG") + "LOCAL\n", VALUES.astype("<i4").tobytes())

# MGH: nibabel's values and affine, shown by SimpleITK.
for name, code, affine in [
    ("a.mgh", np.int16, np.diag([-1, -1, 2.5, 1])),
    ("b.mgz", np.float32, np.array([[0, 0, 3.0, 0], [-0.5, 0, 0, 0], [0, -0.75, 0, 0], [0, 0, 0, 1]])),
    ("c.mgz", np.int32, np.array([[0.9, -0.1, 0, 5], [0.1, 0.9, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])),
    ("d.mgh", np.uint8, np.diag([1, 1, 1, 1])),
]:
    data = VALUES.T.astype(np.int64).astype(code)
    nibabel.save(nibabel.MGHImage(np.ascontiguousarray(data), affine.astype(np.float64)), f"rasters/{name}")
    read = nibabel.load(f"rasters/{name}")
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asanyarray(read.dataobj).T).astype(np.dtype(code)))
    zooms = read.header.get_zooms()[:3]
    cosines = np.diag([-1, -1, 1]) @ (read.affine[:3, :3] / np.array(zooms))
    image.SetSpacing([float(zoom) for zoom in zooms])
    image.SetDirection(cosines.reshape(-1).tolist())
    add(name, image)

with open("rasters.txt", "w") as file:
    file.write("# file, axis codes, spacing along i j k, shape and values along D H W; by rasters.py\n")
    file.writelines(lines)
