"""Writes nifti_axes/ and nifti_axes.txt: NIfTI files whose slices are on the fourth axis, whose further axes state 0 or 1,
and whose 8-bit numbers are scaled to Hounsfield units. A line is: file, spacing along i, j and k, shape and values along
k, j and i. Read by nibabel; where nibabel reads an empty array (an axis of 0) by SimpleITK.

Run: python nifti_axes.py (nibabel 5.4.2, SimpleITK 2.5.7, numpy 2.4.6)
"""

import os
import shutil

import nibabel
import numpy as np
import SimpleITK as sitk

os.chdir(os.path.dirname(os.path.abspath(__file__)))
shutil.rmtree("nifti_axes", ignore_errors=True)
os.makedirs("nifti_axes")
RAMP = np.arange(-1000, -1000 + 41 * 24, 41).reshape(4, 3, 2).T
AFFINE = np.diag([-0.5, -0.75, 2.5, 1])
lines = []


def write(name, shape, kind=nibabel.Nifti1Image, code=np.int16, slope=1, offset=0, header_dim=None):
    stored = np.round((RAMP - offset) / slope).astype(code).reshape(shape, order="F")
    image = kind(stored, AFFINE)
    image.header.set_slope_inter(slope, offset)
    path = f"nifti_axes/{name}"
    nibabel.save(image, path)
    if header_dim:
        dim, size, at = (np.int16, 2, 40) if kind is nibabel.Nifti1Image else (np.int64, 8, 16)
        file = bytearray(open(path, "rb").read())
        file[at : at + 8 * size] = np.array(header_dim, dim).tobytes()
        open(path, "wb").write(file)
    read = nibabel.load(path)
    zooms = ",".join(f"{zoom:.6g}" for zoom in read.header.get_zooms()[:3])
    values = read.get_fdata()
    if values.size == 0:
        values = sitk.GetArrayFromImage(sitk.ReadImage(path)).T.astype(float)
    values = np.squeeze(values).T
    lines.append(f"{name} {zooms} {'x'.join(map(str, values.shape))}:{','.join(map(str, values.reshape(-1)))}\n")


TWO = nibabel.Nifti2Image
write("three.nii", (2, 3, 4))
write("fourth.nii", (2, 3, 1, 4))
write("fourth_of_two.nii", (2, 3, 1, 4), TWO)
write("fourth_and_ones.nii.gz", (2, 3, 1, 4, 1, 1))
write("zero.nii", (2, 3, 4), header_dim=[4, 2, 3, 4, 0, 0, 0, 0])
write("zeros.nii", (2, 3, 4), header_dim=[6, 2, 3, 4, 0, 1, 0, 7])
write("beyond.nii", (2, 3, 4), header_dim=[3, 2, 3, 4, 9, 0, -5, 7])
write("scaled.nii", (2, 3, 4), code=np.uint8, slope=8, offset=-1024)
write("scaled_down.nii", (2, 3, 4), code=np.uint8, slope=-4, offset=0)
write("scaled_signed.nii.gz", (2, 3, 1, 4), code=np.int8, slope=8, offset=-512)
write("not_air.nii", (2, 3, 4), code=np.uint8, slope=2, offset=-400)
with open("nifti_axes.txt", "w") as file:
    file.write("# file, spacing along i j k, shape and values along k j i; by nifti_axes.py\n")
    file.writelines(lines)
