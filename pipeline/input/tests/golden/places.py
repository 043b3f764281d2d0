"""Writes places/ and places.txt: files with places and directions, and where the slices of recipe m3d are in them.

A line is: file, then for each of 4 slices of the result the nearest slice of the file (from 0 along k) and the millimetres of its middle
along the patient axis that is nearest to k; `none` where the file states no place. nibabel gives the affine and the axis codes of
NIfTI and MGH, SimpleITK the places of voxels in MetaImage and NRRD.

Run: python places.py (nibabel 5.4.2, SimpleITK 2.5.7, numpy 2.4.6)
"""

import os
import shutil

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine

os.chdir(os.path.dirname(os.path.abspath(__file__)))
shutil.rmtree("places", ignore_errors=True)
os.makedirs("places")
SHAPE, DEPTH = (5, 6, 9), 4
# Zeros around the body, which recipe m3d cuts off: along k slices 2 to 7 stay.
BODY = np.zeros(SHAPE, np.int16)
BODY[1:4, 1:5, 2:8] = np.arange(1, 1 + 3 * 4 * 6).reshape(3, 4, 6)


def affine(codes, zooms, origin, turn=0.0):
    directions = np.zeros((3, 3))
    for axis, code in enumerate(codes):
        world = next(world for world, names in enumerate(["LR", "PA", "IS"]) if code in names)
        directions[world, axis] = zooms[axis] * (1 if code in "RAS" else -1)
    c, s = np.cos(turn), np.sin(turn)
    tilted = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ directions
    return np.vstack([np.column_stack([tilted, origin]), [0, 0, 0, 1]])


def depths(flipped):
    """Coordinates along k of the slices of the result, in the order of the display."""
    first, last = 2, 7
    source = last - first + 1
    along = np.clip((np.arange(DEPTH) + 0.5) * source / DEPTH - 0.5, 0, source - 1)
    return [last - at if flipped else first + at for at in along]


lines = []


def write(name, matrix, kind=nibabel.Nifti1Image, form="sform", unit="mm"):
    image = kind(BODY, matrix)
    image.header.set_xyzt_units(unit)
    image.set_sform(matrix if form == "sform" else None, 1 if form == "sform" else 0)
    image.set_qform(matrix if form == "qform" else None, 1 if form == "qform" else 0)
    nibabel.save(image, f"places/{name}")
    scale = {"mm": 1, "micron": 0.001, "meter": 1000}[unit]
    read = nibabel.load(f"places/{name}").affine
    tell(name, read, None if form == "none" else lambda voxel: apply_affine(read, voxel) * scale)


def tell(name, read, place):
    """A line, by the affine's axis codes and a function from voxels to millimetres towards right, anterior and superior."""
    code = nibabel.aff2axcodes(read)[2]
    world = next(world for world, names in enumerate(["LR", "PA", "IS"]) if code in names)
    # Display: inferior to superior, anterior to posterior, right to left.
    flipped = (code == "I") if world == 2 else (code in "AR")
    cells = []
    for depth in depths(flipped):
        middle = [(SHAPE[0] - 1) / 2, (SHAPE[1] - 1) / 2, depth]
        mm = "none" if place is None else f"{place(middle)[world]:.6f}"
        # Half a slice is rounded away from 0 along the display.
        shown = SHAPE[2] - 1 - depth if flipped else depth
        nearest = int(np.floor(shown + 0.5))
        cells.append(f"{SHAPE[2] - 1 - nearest if flipped else nearest}:{mm}")
    lines.append(f"{name} {' '.join(cells)}\n")


def write_mgh(name, matrix):
    nibabel.save(nibabel.MGHImage(BODY, matrix), f"places/{name}")
    read = nibabel.load(f"places/{name}").affine
    tell(name, read, lambda voxel: apply_affine(read, voxel))


def write_itk(name, matrix):
    """ITK counts towards left and posterior."""
    lps = np.diag([-1, -1, 1]) @ matrix[:3]
    zooms = np.linalg.norm(lps[:, :3], axis=0)
    image = sitk.GetImageFromArray(BODY.T)
    image.SetSpacing(zooms.tolist())
    image.SetDirection((lps[:, :3] / zooms).reshape(-1).tolist())
    image.SetOrigin(lps[:, 3].tolist())
    sitk.WriteImage(image, f"places/{name}", useCompression=False)
    read = sitk.ReadImage(f"places/{name}")
    place = lambda voxel: np.array(read.TransformContinuousIndexToPhysicalPoint(voxel)) * [-1, -1, 1]
    tell(name, matrix, place)


TWO = nibabel.Nifti2Image
write("axial.nii.gz", affine("LPS", (0.7, 0.7, 5), (110.5, 90.25, -412)))
write("axial_down.nii.gz", affine("RAI", (0.7, 0.8, 2.5), (-88, -71, 33.5)))
write("axial_tilted.nii.gz", affine("LPS", (0.7, 0.9, 3), (120, 60, -300), 0.31))
write("coronal.nii.gz", affine("LSA", (1, 1, 4), (90, -80, -55)))
write("coronal_back.nii.gz", affine("RSP", (1, 1.5, 4), (-90, 70, -55), -0.1))
write("sagittal.nii.gz", affine("PSR", (1.25, 1, 3), (-40, 101, -60)), TWO)
write("by_quaternion.nii.gz", affine("LPS", (0.7, 0.9, 3), (120, 60, -300), 0.31), form="qform")
write("by_quaternion_of_two.nii.gz", affine("RAI", (0.7, 0.9, 3), (12, 60, -300)), TWO, form="qform")
write("in_meters.nii.gz", affine("LPS", (0.0007, 0.0007, 0.005), (0.11, 0.09, -0.4)), unit="meter")
write("nowhere.nii.gz", affine("LAS", (0.7, 0.7, 5), (0, 0, 0)), form="none")
write_mgh("axial.mgz", affine("LPS", (0.7, 0.9, 3), (120, 60, -300), 0.31))
write_mgh("coronal.mgz", affine("LIA", (1, 1, 4), (90, -80, -55)))
write_itk("axial_tilted.mha", affine("LPS", (0.7, 0.9, 3), (120, 60, -300), 0.31))
write_itk("sagittal.mha", affine("PSR", (1.25, 1, 3), (-40, 101, -60)))
write_itk("axial_down.nrrd", affine("RAI", (0.7, 0.8, 2.5), (-88, -71, 33.5)))
write_itk("coronal_back.nrrd", affine("RSP", (1, 1.5, 4), (-90, 70, -55), -0.1))
with open("places.txt", "w") as file:
    file.write("# file, and for each slice of the result: slice of the file, mm; nibabel 5.4.2, SimpleITK 2.5.7, by places.py\n")
    file.writelines(lines)
