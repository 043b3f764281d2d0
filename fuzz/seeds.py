"""Seeds of the fuzz targets: small inputs of every kind that the readers take, below corpus/TARGET/ under short names.

Run with Python 3 and `pip install numpy nibabel pillow pydicom imagecodecs`. The shards of `shard_footer` are written by
the test `pipeline/feed/tests/corpus.rs` instead, since only the shard writer makes them.
"""

import csv
import gzip
import io
import json
import zlib
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, UID

CORPUS = Path(__file__).parent / "corpus"
rng = np.random.default_rng(11)
BETWEEN = b"|slice|"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    assert len(data) <= 8192, (name, len(data))
    (folder / name).write_bytes(data)


def volume(dtype, shape=(3, 4, 5)):
    """A ramp with noise; some of it air where the type has a sign."""
    values = np.arange(np.prod(shape)).reshape(shape) * 7 + rng.integers(0, 5, shape)
    return (values if np.dtype(dtype).kind == "u" else values - 700).astype(dtype)


# --- nifti: types, byte orders, versions, affines, scaling, gzip, and NumPy arrays
for code in ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"]:
    data = volume("u1" if code == "u1" else f"<{code}")
    image = nibabel.Nifti1Image(data, np.diag([-1, -1, 2.5, 1]), dtype=data.dtype)
    write("nifti", code, image.to_bytes())
oblique = np.array([[0.1, 0, 2, 5], [0.9, 0.2, 0, -3], [0, -1.1, 0.1, 0], [0, 0, 0, 1]])
image = nibabel.Nifti1Image(volume("<i2"), oblique)
image.header.set_slope_inter(0.5, -1024)
write("nifti", "oblique", image.to_bytes())
write("nifti", "gzip", gzip.compress(image.to_bytes(), mtime=0))
half = len(image.to_bytes()) // 2
members = [image.to_bytes()[:half], image.to_bytes()[half:]]
write("nifti", "members", b"".join(gzip.compress(part, mtime=0) for part in members))
image.set_sform(None, code=0)
image.set_qform(oblique, code=1)
write("nifti", "quaternion", image.to_bytes())
image = nibabel.Nifti1Image(volume(">i2"), oblique, nibabel.Nifti1Header(endianness=">"))
write("nifti", "big", image.to_bytes())
image = nibabel.Nifti2Image(volume("<f4"), np.diag([2, 2, 2, 1]))
write("nifti", "two", image.to_bytes())
image = nibabel.Nifti2Image(volume(">i4"), oblique, nibabel.Nifti2Header(endianness=">"))
write("nifti", "two_big", image.to_bytes())
header = nibabel.Nifti1Header()
header.set_data_shape((30000, 30000, 30000))
header.set_data_dtype("<i2")
write("nifti", "lie", header.binaryblock.replace(b"ni1\0", b"n+1\0") + bytes(4))
bomb = nibabel.Nifti1Image(np.zeros((64, 64, 64), "<i2"), np.eye(4)).to_bytes()
write("nifti", "zeros", gzip.compress(bomb, mtime=0))
for name, array in {
    "array": volume("<f4"),
    "array_fortran": np.asfortranarray(volume("<f2")),
    "array_big": volume(">i4")[None],
    "array_bool": volume("<i2") > 0,
}.items():
    out = io.BytesIO()
    np.save(out, array)
    write("nifti", name, out.getvalue())

# --- nifti, too: the other formats of one file, which their first bytes tell
state = rng.bit_generator.state
numbers = volume("<i2").tobytes()
nrrd = "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nencoding: raw\nendian: little\n"
placed = "space: RAS\nspace directions: (0.5,0,0) (0,0.75,0) (0,0,-2)\nspace units: \"mm\" \"mm\" \"mm\"\n"
write("nifti", "nrrd", (nrrd + placed + "\n").encode() + numbers)
write("nifti", "nrrd_gzip", (nrrd.replace("raw", "gzip") + "byte skip: 2\n\n").encode() + gzip.compress(b"ab" + numbers, mtime=0))
write("nifti", "nrrd_skips", (nrrd + "line skip: 1\nbyte skip: -1\nspacings: 1 nan -2\n\n").encode() + b"line\n" + numbers)
four = nrrd.replace("dimension: 3", "dimension: 4").replace("5 4 3", "1 5 4 3").replace("little", "big")
write("nifti", "nrrd_four", (four + "space directions: none (1,0,0) (0,1,0) (0,0,1)\nkey:=value\n# comment\n\n").encode() + numbers)
write("nifti", "nrrd_detached", (nrrd + "data file: ../other.raw\n").encode())
meta = "ObjectType = Image\nNDims = 3\nBinaryData = True\nTransformMatrix = 0 1 0 0 0 1 1 0 0\nElementSpacing = 0.5 0.75 2\n"
last = "DimSize = 5 4 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
write("nifti", "metaimage", (meta + last).encode() + numbers)
write("nifti", "metaimage_zlib", (meta + "CompressedData = True\n" + last).encode() + zlib.compress(numbers))
write("nifti", "metaimage_end", (meta + "HeaderSize = -1\nElementByteOrderMSB = True\n" + last).encode() + b"more" + numbers)
write("nifti", "metaimage_detached", (meta + last.replace("LOCAL", "/etc/other.raw")).encode())
mgh = nibabel.MGHImage(volume("i2"), np.diag([-1, -1, 2, 1.0])).to_bytes()
write("nifti", "mgh", mgh)
write("nifti", "mgz", gzip.compress(mgh, mtime=0))
single = nibabel.Nifti1Image(volume("<i2", (5, 4, 1, 3)), np.eye(4)).to_bytes()
write("nifti", "fourth_axis", single)
write("nifti", "gzip_tail", gzip.compress(single, mtime=0) + b"\0\0\0tail")
write("nifti", "gzip_twice", gzip.compress(gzip.compress(single, mtime=0), mtime=0))
write("nifti", "lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
write("nifti", "html", b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>")
# What follows stays as it was before these were added.
rng.bit_generator.state = state


# --- slice_folder: modes, codings, sizes at odds, damage
y, x = np.mgrid[:9, :11]
grey = ((x * 20 + y * 9) & 255).astype("u1")
color = np.stack([grey, grey.T.copy().reshape(grey.shape), 255 - grey], -1)
pictures = {
    "l8": Image.fromarray(grey),
    "l16": Image.fromarray(grey.astype("u2") * 257),
    "la8": Image.fromarray(grey).convert("LA"),
    "rgb": Image.fromarray(color),
    "rgba": Image.fromarray(color).convert("RGBA"),
    "palette": Image.fromarray(color).quantize(7),
    "bilevel": Image.fromarray(grey > 99),
}


def png(picture, **options):
    out = io.BytesIO()
    picture.save(out, "png", **options)
    return out.getvalue()


def jpeg(picture, **options):
    out = io.BytesIO()
    picture.save(out, "jpeg", **options)
    return out.getvalue()


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def interlaced():
    """Adam7, which Pillow does not write: 8 x 8 grey pixels in seven passes."""
    square, rows = grey[:8, :8], b""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    for top, left, down, right in passes:
        for line in square[top::down, left::right]:
            rows += b"\0" + line.tobytes()
    head = (8).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 1])
    data = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


for name, picture in pictures.items():
    write("slice_folder", name, png(picture))
write("slice_folder", "interlaced", interlaced())
codings = {
    "grey": jpeg(pictures["l8"]),
    "color": jpeg(pictures["rgb"], subsampling=2),
    "full": jpeg(pictures["rgb"], subsampling=0),
    "progressive": jpeg(pictures["rgb"], progressive=True),
    "restart": jpeg(pictures["l8"], restart_marker_blocks=1),
    "cmyk": jpeg(pictures["rgb"].convert("CMYK")),
}
for name, data in codings.items():
    write("slice_folder", name, data)
write("slice_folder", "series", BETWEEN.join([png(pictures["l8"]), codings["grey"], png(pictures["bilevel"])]))
write("slice_folder", "mixed", BETWEEN.join([png(pictures["l8"]), png(pictures["l8"].resize((4, 3))), codings["grey"]]))
write("slice_folder", "cut", BETWEEN.join([codings["grey"][:-40], png(pictures["rgb"])[:60], b""]))

# --- dicom: every transfer syntax that is read, one slice a file; then series
ROWS, COLUMNS = 6, 7
slope = (np.mgrid[:ROWS, :COLUMNS][1] * 300 + rng.integers(0, 90, (ROWS, COLUMNS))).astype("<u2")


def slice_of(syntax, picture, frame=None, bits=12, **fields):
    """A file of one slice; native pixels unless `frame` compresses them."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2" + syntax)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.Modality = CTImageStorage, "1.2.3", "1.2.4", "CT"
    ds.ImageType, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 1.5], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.8], 1.5
    ds.Rows, ds.Columns = picture.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = picture.dtype.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(picture.dtype.kind == "i")
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    for name, value in fields.items():
        setattr(ds, name, value)
    if frame is None:
        big = syntax == ".2"
        ds.PixelData = (picture.astype(picture.dtype.newbyteorder(">")) if big else picture).tobytes()
        ds["PixelData"].VR = "OW"
    else:
        ds.PixelData = encapsulate([bytes(frame)])
        ds["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


eight = (slope >> 4).astype("u1")
signed = slope.astype("<i2") - 1000
native = {
    "implicit": slice_of("", slope),
    "explicit": slice_of(".1", slope),
    "big": slice_of(".2", slope),
    "signed": slice_of(".1", signed, bits=16),
    "eight": slice_of(".1", eight, bits=8),
    "monochrome1": slice_of(".1", slope, PhotometricInterpretation="MONOCHROME1", Modality="MR"),
    "high": slice_of(".1", slope << 4, HighBit=15),
    "deflated": slice_of(".1.99", slope),
}
lossless = imagecodecs.jpeg_encode(slope, lossless=True, predictor=1, bitspersample=12)
lossless4 = imagecodecs.jpeg_encode(slope, lossless=True, predictor=4, bitspersample=12)
two_thousand = {"level": 0, "reversible": True, "codecformat": "j2k", "bitspersample": 12}
compressed = {
    "lossless": slice_of(".4.70", slope, lossless),
    "lossless4": slice_of(".4.57", slope, lossless4),
    "ls": slice_of(".4.80", slope, imagecodecs.jpegls_encode(slope)),
    "near": slice_of(".4.81", slope, imagecodecs.jpegls_encode(slope, level=3)),
    "ls8": slice_of(".4.80", eight, imagecodecs.jpegls_encode(eight), bits=8),
    "j2k": slice_of(".4.90", slope, imagecodecs.jpeg2k_encode(slope, **two_thousand)),
    "j2k_lossy": slice_of(".4.91", slope, imagecodecs.jpeg2k_encode(slope, **two_thousand | {"level": 50, "reversible": False})),
    "baseline": slice_of(".4.50", eight, imagecodecs.jpeg_encode(eight, level=95), bits=8),
}
rle = slice_of(".1", slope)
for name, data in (native | compressed).items():
    write("dicom", name, data)
literal = lambda plane: b"".join(bytes([len(row) - 1]) + row.tobytes() for row in plane)
planes = [literal((slope >> 8).astype("u1")), literal(slope.astype("u1"))]
starts = [2, 64, 64 + len(planes[0])]
header = b"".join(n.to_bytes(4, "little") for n in starts).ljust(64, b"\0")
write("dicom", "rle", slice_of(".5", slope, header + planes[0] + planes[1]))
# --- streams: the same streams without a file around them, tiles and layers of JPEG 2000, and pictures
wide = (np.mgrid[:70, :90][1] * 40 + np.random.default_rng(12).integers(0, 900, (70, 90))).astype("<u2")
for name, kind, data in [
    ("j2k", 0, imagecodecs.jpeg2k_encode(slope, **two_thousand)),
    ("j2k_wide", 0, imagecodecs.jpeg2k_encode(wide[:40, :50], **two_thousand)),
    ("j2k_lossy", 0, imagecodecs.jpeg2k_encode(wide, **two_thousand | {"level": 40, "reversible": False})),
    ("ls", 1, imagecodecs.jpegls_encode(slope)),
    ("ls_near", 1, imagecodecs.jpegls_encode(slope, level=3)),
    ("lossless", 2, lossless),
    ("rle", 3, ROWS.to_bytes(2, "big") + COLUMNS.to_bytes(2, "big") + header + planes[0] + planes[1]),
    ("baseline", 4, imagecodecs.jpeg_encode(eight, level=95)),
    ("png", 5, imagecodecs.png_encode(eight)),
    ("png16", 5, imagecodecs.png_encode(slope)),
    ("png_color", 5, imagecodecs.png_encode(np.stack([eight] * 3, axis=-1))),
    ("jpeg", 6, imagecodecs.jpeg_encode(np.stack([eight] * 3, axis=-1), level=90)),
]:
    write("streams", name, bytes([kind]) + bytes(data))
picture = io.BytesIO()
Image.fromarray((wide >> 4).astype("u1")).save(picture, "JPEG", progressive=True)
write("streams", "progressive", b"\6" + picture.getvalue())
bare = slice_of(".1", slope)
write("dicom", "cut", bare[:-20])
write("dicom", "no_preamble", bare[132:])

# A private sequence of VR UN and undefined length, plain and nested; a syntax that the elements don't have.
def item(contents):
    return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + contents + b"\xfe\xff\x0d\xe0" + bytes(4)


def unknown(contents):
    return b"\x19\0\1\x10UN\0\0\xff\xff\xff\xff" + contents + b"\xfe\xff\xdd\xe0" + bytes(4)


def with_element(data, element):
    at = data.index(b"\x20\0\x0e\0UI")
    return data[:at] + element + data[at:]


code = b"\x08\0\0\1\x02\0\0\0AB"
inner = b"\x09\0\2\x10\xff\xff\xff\xff" + item(code) + b"\xfe\xff\xdd\xe0" + bytes(4)
write("dicom", "unknown", with_element(bare, unknown(item(code))))
write("dicom", "unknown_nested", with_element(bare, unknown(item(code + inner) + item(b""))))
write("dicom", "unknown_explicit", with_element(bare, unknown(item(b"\x08\0\0\1SH\2\0AB" + unknown(item(code))))))
write("dicom", "said_implicit", bare.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0", 1))
write("dicom", "said_nothing", bare.replace(b"1.2.840.10008.1.2.1\0", bytes(20), 1))


def enhanced(frames, pixels=None):
    """An enhanced object of slices 1.5 mm apart."""
    ds = pydicom.dcmread(io.BytesIO(native["explicit"]))
    ds.SOPClassUID, ds.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", len(frames)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(ds, name)

    def group(**fields):
        inner = Dataset()
        for name, value in fields.items():
            setattr(inner, name, value)
        return [inner]

    ds.SharedFunctionalGroupsSequence = group(
        PixelMeasuresSequence=group(PixelSpacing=[0.7, 0.8], SliceThickness=1.5),
        PlaneOrientationSequence=group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
    )
    ds.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence=group(ImagePositionPatient=[0, 0, 1.5 * n]),
            PixelValueTransformationSequence=group(RescaleIntercept=-1024, RescaleSlope=1 + n, RescaleType="HU"),
        )[0]
        for n in range(len(frames))
    ]
    ds.PixelData = np.stack(frames).tobytes()
    ds["PixelData"].VR = "OW"
    if pixels is not None:
        ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.5")
        ds.PixelData = pixels
        ds["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


write("dicom", "enhanced", enhanced([slope, slope + 5, slope + 9]))
packed = header + planes[0] + planes[1]
write("dicom", "enhanced_rle", enhanced([slope] * 3, encapsulate([packed] * 3)))
parts = encapsulate([packed] * 3, fragments_per_frame=2)
write("dicom", "enhanced_parts", enhanced([slope] * 3, parts))

# In order, with a gap, two at one place, of different kinds.
def series(*positions, **fields):
    return BETWEEN.join(
        slice_of(".1", slope + n, ImagePositionPatient=[0, 0, z], InstanceNumber=n + 1, **fields)
        for n, z in enumerate(positions)
    )


write("dicom", "series", series(0, 1.5, 3))
write("dicom", "series_gap", series(6, 0, 1.5, 3))
write("dicom", "series_twice", series(0, 0))
write("dicom", "series_tilted", series(0, 2, ImageOrientationPatient=[1, 0, 0, 0, 0.9, 0.43589]))
rescaled = [slice_of(".1", slope, RescaleSlope=n + 1.5, ImagePositionPatient=[0, 0, n]) for n in range(2)]
scout = slice_of(".1", slope.T.copy(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
capture = slice_of(".1", slope, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None)
write("dicom", "series_others", BETWEEN.join([scout, series(0, 1.5), capture]))
write("dicom", "series_rescaled", BETWEEN.join(rescaled))
write("dicom", "series_mixed", BETWEEN.join([native["explicit"], compressed["j2k"], codings["grey"]]))

# --- manifest: captions, questions, yes/no and conversations
PREPARED = "M3D_Cap_npy/ct_case/000001/"
axial, coronal, gone = (f"{PREPARED}{name}.npy" for name in ("Axial", "Coronal", "Gone"))
report = f"{PREPARED}text.txt"
captions = {
    "train": [{"image": axial, "text": report}, {"image": gone, "text": report}, {"image": None}],
    "validation": [{"image": coronal, "text": f"{PREPARED}none.txt"}, {"image": "../../out", "text": "/etc/x"}],
    "test": [{"image": coronal, "text": report}, 7],
    "test1k": [{"image": coronal, "text": report}],
}
write("manifest", "captions", json.dumps(captions).encode())
columns = ["", "Image Path", "Text", "Question Type", "Question"]
columns += ["Choice A", "Choice B", "Choice C", "Choice D", "Answer", "Answer Choice", "Note"]
lines = [
    [7, axial, "", 1, "Which plane, or phase?", "Axial", "Sagittal", "NA", "", "Axial", "A", ""],
    [8, axial, "", 3, 'Which "organ"?', "Liver", "None", "nan", "Kidney", "None", "(B)", ""],
    [9, coronal, "", 4, "Free fluid?", "Yes", "No", "NA", "NA", "No", "B.", "x"],
    [7, axial, "", 1, "Which plane, or phase?", "Axial", "Sagittal", "NA", "", "Axial", "A", ""],
    [10, "", "", 5, "Where?", "Left", "Right", "", "", "", "", ""],
    [11, gone, "", 9, "", "a", "b", "c", "d", "e", "E", ""],
]
out = io.StringIO()
csv.writer(out).writerows([columns] + lines)
write("manifest", "questions", out.getvalue().encode())
write("manifest", "latin", out.getvalue().replace("organ", "\u00f6rgan").encode("latin-1"))
write("manifest", "ragged", out.getvalue().replace(",A,\r\n", "\r\n").encode())


def turns(*said):
    return [{"from": ("human", "gpt")[n % 2], "value": value} for n, value in enumerate(said)]


closed = "<image3d>\nWhich plane? Choices: A. Axial B. Coronal C. nan D. nan"
conversations = [
    {"id": 1, "conversations": turns("<image3d>\nWhich organ?", "Liver"), "vision3d": [axial], "question_type": 3},
    {"conversations": turns(closed, "B. Coronal"), "vision3d": [coronal], "question_type": 1, "answer_choice": "B"},
    {
        "conversations": turns("<image3d>\nFirst.", "Yes.", "And <image3d>?", "No.", "Sure?"),
        "vision3d": ["ct_case/000001/Axial.npy", "ct_case/000001/Coronal.npy"],
        "answer": "Sure.",
        "question": "Compare.",
    },
    {"conversations": turns("<image3d>", "A normal scan."), "vision3d": [axial], "vision2d": [], "question_type": 0},
    {"conversations": turns("<image>\nWhat?", "a"), "vision2d": ["a.png"], "vision3d": []},
    {"conversations": turns("<image3d>\nb"), "vision3d": ["../../out.npy"], "answer": None},
    {"conversations": [{"from": "system", "value": 3}], "vision3d": "x"},
    None,
]
write("manifest", "conversations", json.dumps(conversations).encode())
write("manifest", "deep", b"[" * 200 + b"]" * 200)

# Damaged tables and rows: quotes that are not closed or closed by chance, rows of JSON that are none, lines, marks.
text = out.getvalue()
write("manifest", "open_quote", text.replace("Axial,Sagittal", '"Axial,Sagittal', 1).encode())
write("manifest", "quote_closed_by_chance", text.replace("Axial,Sagittal", '"Axial,Sagittal', 1).replace("Yes,No", '5",No').encode())
write("manifest", "text_after_quote", text.replace("Free fluid?", '"Free "fluid"?"').encode())
write("manifest", "carriage_returns", ("\ufeff" + text.replace("\r\n", "\r").replace("Free", "F\0ree")).encode())
rows = [json.dumps(row) for row in conversations]
write("manifest", "lines", "\n".join(rows).encode())
write("manifest", "mark", ("\ufeff[" + ",\n".join(rows)).encode())
write("manifest", "half_pair", json.dumps(conversations).replace("Liver", "\\ud83d").replace('"question_type": 1', '"question_type": NaN').encode())
write("manifest", "no_brace", json.dumps(conversations).replace('"question_type": 3}', '"question_type": 3').encode())
write("manifest", "no_quote", json.dumps(captions).replace('Axial.npy"', "Axial.npy", 1).encode())

# Predictions of other programs: a byte that tells the format (m3d, med2e3, radfm, 3d-rad, plain, own), then the file.
asked = "<im_patch> Where is it?"
table = f'Question Type,Question,Answer,Pred\r\n2,"{asked}",left,"on the\nleft"\r\n2,"{asked}",left,\r\n'
write("predictions", "m3d_open", b"\0" + table.encode())
write("predictions", "m3d_caption", b"\0" + "\ufeffQuestion;Ground Truth;pred\n<im_patch>Say it.;A disc.;nan\n".encode("utf-16-le"))
write("predictions", "open_quote", b"\0" + table.replace('left"', "left").encode())
write("predictions", "med2e3_std", b"\1" + json.dumps([{"id": 7, "outputs": None, "answers": "A. left", "correct": False}]).encode())
write("predictions", "med2e3_cut", b"\1" + b'[{"id": "7", "outputs": "A. le')
write("predictions", "radfm", b"\2" + b"Question,Ground Truth,Pred,belong_to\n\"['It\\'s?']\",['\\xe9'],\"[\"\"a\\nb\"\"]\",x\n")
write("predictions", "rad", b"\3" + table.replace("Question Type", "Question Aspect").encode())
write("predictions", "plain_lines", b"\4" + b'{"id": "a", "prediction": 3}\n{"id": "b", "prediction": null}\n')
own = {"sample_id": "a", "turn": 1, "question": "Where?", "expected": "left", "answer": "right"}
write("predictions", "own", b"\5" + json.dumps({"split": "test", "answers": [own, own | {"turn": 2}]}).encode())

# Texts with what their rules look at: sentences, abbreviations, quotes, contractions, numbers, entities, letters of choices.
write("texts", "sentences", 'Dr. A. Smith saw 1.5 cm at 3 p.m. "It\'s new," he said... |The mass isn\'t 1,5 cm; see fig. 2. -- Stable?'.encode())
write("texts", "marks", "a&quot;b &amp; c--d \u2014 \u201cq\u201d ``x'' [y] (z) $3 50% #5 gonna cannot d'ye|caf\u00e9 \u809d\u810f \U0001f600 n't".encode())
write("texts", "choice", b"The answer is: B) right|left\nright\nboth")
write("texts", "several", b"A. left B. right|left\nright\n\nNA")

# WordNet's files, of one entry each: licence, meanings, lemmas, irregular forms.
licence = "  1 WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved.  \n"
noun = [licence + "00000078 03 n 02 entity 0 thing(a) 1 000 | what is  \n", licence + "entity n 1 0 1 0 00000078  \n", "entities entity\n"]
write("wordnet", "small", "\0".join(noun * 4).encode())
write("wordnet", "licence_alone", licence.strip("\n").encode())
write("wordnet", "other_version", noun[0].replace("3.0", "3.1").encode())
