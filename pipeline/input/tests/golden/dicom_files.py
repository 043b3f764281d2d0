"""Whole DICOM files of unusual forms, and the values that pydicom (and, where it reads them, SimpleITK) gives.

Run with Python 3 and `pip install numpy pydicom SimpleITK`; writes dicom_files.txt to the folder of this file.

Lines: `file CASE NAME BYTES`, and `values CASE DEPTH HEIGHT WIDTH VALUES`: BYTES in hexadecimal, VALUES as 32-bit
little-endian floats in hexadecimal, slices by their position along the normal. A case is a folder of files.
"""

import copy
import io
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless, UID

warnings.simplefilter("ignore")
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
ROWS, COLUMNS, SLICES = 3, 4, 3
CT, ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
rng = np.random.default_rng(29)
lines, read_by_itk, not_by_pydicom = [], [], []


def picture(n):
    return rng.integers(-1000, 2000, (ROWS, COLUMNS)).astype("<i2") + n


def common(sop_class):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, "1.2.3"
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality, ds.SeriesInstanceUID = sop_class, "1.2.3", "CT", "1.2.4"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    return ds


def slice_of(n, **fields):
    """One slice; slices are 2 mm apart along z, in the order of their numbers."""
    ds = common(CT)
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-5, -6, 2 * n], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [0.5, 0.75], 2, n + 1
    ds.RescaleIntercept, ds.RescaleSlope = -24, 2
    for name, value in fields.items():
        setattr(ds, name, value)
    ds.PixelData = picture(n).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def written(ds, syntax=EXPLICIT):
    ds = copy.deepcopy(ds)
    if syntax == BIG and ds.BitsAllocated == 16:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    return raw(ds, syntax)


def raw(ds, syntax):
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG)
    return out.getvalue()


def claimed(data, syntax, claim):
    """The file with another transfer syntax in its meta group; an empty claim, or none at all where it is None."""
    at = data.index(b"\x02\x00\x10\x00UI")
    old = syntax.encode() + b"\0" * (len(syntax) % 2)
    assert data[at + 8 :].startswith(old)
    new = b""
    if claim is not None:
        value = claim.encode() + b"\0" * (len(claim) % 2)
        new = data[at : at + 6] + struct.pack("<H", len(value)) + value
    return data[:at] + new + data[at + 8 + len(old) :]


def tag(group, element, big=False):
    return struct.pack(">HH" if big else "<HH", group, element)


def item(contents, defined=False):
    """An item of an implicit little-endian sequence."""
    if defined:
        return tag(0xFFFE, 0xE000) + struct.pack("<I", len(contents)) + contents
    return tag(0xFFFE, 0xE000) + b"\xff" * 4 + contents + tag(0xFFFE, 0xE00D) + bytes(4)


def implicit(group, element, value):
    return tag(group, element) + struct.pack("<I", len(value)) + value


def implicit_sequence(group, element, *items):
    return tag(group, element) + b"\xff" * 4 + b"".join(items) + tag(0xFFFE, 0xE0DD) + bytes(4)


def unknown(group, element, *items, big=False):
    """An element of VR UN and undefined length."""
    return tag(group, element, big) + b"UN\0\0" + b"\xff" * 4 + b"".join(items) + tag(0xFFFE, 0xE0DD) + bytes(4)


def unknown_value(group, element, value, big=False):
    return tag(group, element, big) + b"UN\0\0" + struct.pack(">I" if big else "<I", len(value)) + value


def explicit_sequence(group, element, *items):
    return tag(group, element) + b"SQ\0\0" + b"\xff" * 4 + b"".join(items) + tag(0xFFFE, 0xE0DD) + bytes(4)


def inserted(data, before, extra, big=False):
    at = data.index(tag(*before, big))
    return data[:at] + extra + data[at:]


def values_of(datasets):
    """The values by pydicom, each slice at its place along the normal, and in the files' order."""
    slices = []
    for ds in datasets:
        frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns).astype(np.float64)
        for n, frame in enumerate(frames):
            if "PerFrameFunctionalGroupsSequence" in ds:
                groups = [ds.PerFrameFunctionalGroupsSequence[n], ds.SharedFunctionalGroupsSequence[0]]
                find = lambda name: next(getattr(group, name)[0] for group in groups if name in group)
                position = find("PlanePositionSequence").ImagePositionPatient
                axes = find("PlaneOrientationSequence").ImageOrientationPatient
                rescale = find("PixelValueTransformationSequence")
            else:
                position, axes, rescale = ds.ImagePositionPatient, ds.ImageOrientationPatient, ds
            normal = np.cross(axes[:3], axes[3:])
            along = float(np.dot(np.array(position, float), np.array(normal, float)))
            slices.append((along, frame * float(rescale.RescaleSlope) + float(rescale.RescaleIntercept)))
    in_order = sorted(slices, key=lambda pair: pair[0])
    return [np.stack([values for _, values in slices]) for slices in (in_order, slices)]


def case(name, files, reference=None, itk=True):
    """Adds a case whose values are those of `reference`, which are those of the files where pydicom reads them."""
    for n, data in enumerate(files):
        lines.append(f"file {name} {n}.dcm {data.hex()}")
    try:
        values, as_stored = values_of([pydicom.dcmread(io.BytesIO(data), force=True) for data in files])
        assert reference is None or (values == reference).all(), name
    except AssertionError:
        raise
    except Exception as error:
        assert reference is not None, (name, error)
        not_by_pydicom.append(name)
        values = as_stored = reference
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{n}.dcm") for n in range(len(files))]
        for path, data in zip(paths, files):
            Path(path).write_bytes(data)
        try:
            image = SimpleITK.ReadImage(paths if len(paths) > 1 else paths[0])
            array = SimpleITK.GetArrayFromImage(image).astype(np.float64)
            if itk and array.shape == values.shape:
                # ITK keeps the frames of a multi-frame object in the file's order.
                assert (array == as_stored).all(), (name, "SimpleITK")
                read_by_itk.append(name)
        except RuntimeError:
            pass
    lines.append("values " + " ".join([name, *map(str, values.shape), values.astype("<f4").tobytes().hex()]))
    return values


plain = [slice_of(n) for n in range(SLICES)]
reference = values_of([pydicom.dcmread(io.BytesIO(written(ds))) for ds in plain])[0]

# --- VR UN: sequences in implicit VR little endian, at several places and depths
AT = {"first": (0x0008, 0x0060), "middle": (0x0020, 0x000E), "before_pixels": (0x7FE0, 0x0010)}
creator = tag(0x0019, 0x0010) + b"LO\x04\0TEST"
creator_big = tag(0x0019, 0x0010, True) + b"LO\0\x04TEST"
code = implicit(0x0008, 0x0100, b"113014") + implicit(0x0008, 0x0102, b"DCM ")
nested = item(code + implicit_sequence(0x0019, 0x1002, item(code), item(b"", True), item(code, True)) + code)
deep = item(code)
for _ in range(30):
    deep = item(code + implicit_sequence(0x0019, 0x1003, deep))
explicit_item = item(tag(0x0008, 0x0100) + b"SH\x06\x00113014" + unknown(0x0009, 0x1001, item(code)))
for name, extra in {
    "un_private": creator + unknown(0x0019, 0x1001, item(code)),
    "un_nested": creator + unknown(0x0019, 0x1001, nested, nested),
    "un_deep": creator + unknown(0x0019, 0x1001, deep),
    "un_empty": creator + unknown(0x0019, 0x1001),
    "un_items_of_lengths": creator + unknown(0x0019, 0x1001, item(code, True), item(code), item(b"", True)),
    "un_public": unknown(0x0019, 0x0010, item(code)).replace(b"\x19\0\x10\0", b"\x08\0\x40\x11", 1),
    "un_value": creator + unknown_value(0x0019, 0x1001, b"\xfe\xff\x00\xe0\xff\xff\xff\xffAB"),
    "un_in_a_sequence": explicit_sequence(0x0008, 0x1140, explicit_item, explicit_item),
    "un_of_pixels_of_an_icon": unknown(0x0019, 0x1001, item(implicit(0x7FE0, 0x0010, b"\1\2\3\4"))),
}.items():
    for place, before in AT.items():
        if place == "middle" or name in ("un_private", "un_nested"):
            files = [inserted(written(ds), before, extra) for ds in plain]
            case(f"{name}_{place}", files, reference)
for name, extra in {
    "un_big": creator_big + unknown(0x0019, 0x1001, item(code), big=True),
    "un_big_nested": creator_big + unknown(0x0019, 0x1001, nested, item(code, True), big=True),
    "un_big_value": creator_big + unknown_value(0x0019, 0x1001, b"ABCDEF", big=True),
}.items():
    files = [inserted(written(ds, BIG), (0x0020, 0x000E), extra, big=True) for ds in plain]
    case(name, files, reference)
# Elements that a converter did not know: their values stay little-endian.
unknown_rows = [ds for ds in map(written, plain)]
for old, new in {
    b"\x28\0\x10\0US\x02\0": b"\x28\0\x10\0UN\0\0\x02\0\0\0",
    b"\x20\0\x32\0DS\x08\0": b"\x20\0\x32\0UN\0\0\x08\0\0\0",
}.items():
    unknown_rows = [data.replace(old, new) for data in unknown_rows]
case("un_fields", unknown_rows, reference)

# --- another form than the transfer syntax states, in all slices and in one
for form, claim in [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT), (EXPLICIT, BIG), (BIG, EXPLICIT), (BIG, IMPLICIT)]:
    words = {IMPLICIT: "implicit", EXPLICIT: "explicit", BIG: "big"}
    files = [claimed(written(ds, form), form, claim) for ds in plain]
    # pydicom takes the byte order that is stated, so that only the other kind of lie is compared with it.
    case(f"form_{words[form]}_said_{words[claim]}", files, reference)
    files = [written(plain[0]), files[1], written(plain[2])]
    case(f"form_{words[form]}_said_{words[claim]}_once", files, reference)
for form, word in [(EXPLICIT, "explicit"), (IMPLICIT, "implicit"), (BIG, "big")]:
    for claim, name in [(None, "no"), ("", "empty")]:
        files = [claimed(written(ds, form), form, claim) for ds in plain]
        case(f"form_{word}_{name}_syntax", files, reference)
case("form_said_deflated", [claimed(written(ds), EXPLICIT, EXPLICIT + ".99") for ds in plain], reference)
mixed = tag(0x0008, 0x1140) + b"SQ\0\0" + b"\xff" * 4 + nested + tag(0xFFFE, 0xE0DD) + bytes(4)
case("form_implicit_items", [inserted(written(ds), (0x0020, 0x000E), mixed) for ds in plain], reference)

# --- fields that are not needed
for name, element, vr, texts in [
    ("thickness_text", (0x0018, 0x0050), b"DS", [b"ANONYMIZED"] * 3),
    ("thickness_comma", (0x0018, 0x0050), b"DS", [b"2,5 "] * 3),
    ("thickness_twice", (0x0018, 0x0050), b"DS", [b"2\\2 "] * 3),
    ("thickness_empty", (0x0018, 0x0050), b"DS", [b"", b"2 ", b"x "]),
    ("number_text", (0x0020, 0x0013), b"IS", [b"REMOVED "] * 3),
    ("number_twice", (0x0020, 0x0013), b"IS", [b"1\\2 "] * 3),
    ("number_empty", (0x0020, 0x0013), b"IS", [b""] * 3),
    ("spacing_text", (0x0028, 0x0030), b"DS", [b"UNKNOWN "] * 3),
    ("spacing_comma", (0x0028, 0x0030), b"DS", [b"0,5\\0,75"] * 3),
    ("spacing_once", (0x0028, 0x0030), b"DS", [b"0.5\\0.75", b"none", b"0.5 "]),
    ("padding_text", (0x0028, 0x0120), b"DS", [b"-2000 "] * 3),
    ("window_text", (0x0028, 0x1050), b"DS", [b"BRAIN "] * 3),
    ("smallest_text", (0x0028, 0x0106), b"DS", [b"least "] * 3),
    ("patient_position_text", (0x0018, 0x5100), b"CS", [b"\xff\xfe"] * 3),
    ("frames_text", (0x0028, 0x0008), b"IS", [b"one "] * 3),
    ("rescale_type_text", (0x0028, 0x1054), b"LO", [b"\xe4\xf6"] * 3),
]:
    files = []
    for ds, text in zip(plain, texts):
        data = written(ds)
        element_bytes = tag(*element) + vr + struct.pack("<H", len(text)) + text
        at = data.find(tag(*element) + vr)
        if at >= 0:
            length = struct.unpack("<H", data[at + 6 : at + 8])[0]
            data = data[:at] + element_bytes + data[at + 8 + length :]
        else:
            # Before the first element with a greater tag.
            read = pydicom.dcmread(io.BytesIO(data))
            following = min(e.tag for e in read if e.tag > (element[0] << 16 | element[1]))
            data = inserted(data, (following.group, following.element), element_bytes)
        files.append(data)
    case(f"field_{name}", files, reference)

# --- pixel data that is longer than its rows
for name, extra in [("two_bytes", b"\1\2"), ("row", bytes(range(2 * COLUMNS))), ("two_rows", bytes(4 * COLUMNS))]:
    files = []
    for ds in plain:
        ds = pydicom.dcmread(io.BytesIO(written(ds)))
        ds.PixelData += extra
        files.append(raw(ds, EXPLICIT))
    case(f"long_by_{name}", files, reference, itk=False)


# --- enhanced multi-frame: frames out of order
def group(**fields):
    inner = Dataset()
    for name, value in fields.items():
        setattr(inner, name, value)
    return Sequence([inner])


def enhanced(order, rescales=None, dtype="<i2", bits=16, axes=(1, 0, 0, 0, 1, 0), per_frame_axes=False):
    ds = common(ENHANCED)
    ds.ImageType, ds.InstanceNumber, ds.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 1, len(order)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = np.dtype(dtype).itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(np.dtype(dtype).kind == "i")
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.5, 0.75], SliceThickness=2)
    if not per_frame_axes:
        shared.PlaneOrientationSequence = group(ImageOrientationPatient=list(axes))
    if rescales is None:
        shared.PixelValueTransformationSequence = group(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    normal = np.cross(axes[:3], axes[3:])
    frames, ds.PerFrameFunctionalGroupsSequence = [], Sequence()
    for n, place in enumerate(order):
        frame = Dataset()
        frame.PlanePositionSequence = group(ImagePositionPatient=[float(x) for x in normal * place * 2.5])
        frame.CTImageFrameTypeSequence = group(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
        if per_frame_axes:
            frame.PlaneOrientationSequence = group(ImageOrientationPatient=list(axes))
        if rescales is not None:
            intercept, slope = rescales[n]
            frame.PixelValueTransformationSequence = group(
                RescaleIntercept=intercept, RescaleSlope=slope, RescaleType="HU"
            )
        ds.PerFrameFunctionalGroupsSequence.append(frame)
        frames.append(rng.integers(0, 1 << min(bits, 12), (ROWS, COLUMNS)).astype(dtype))
    ds.PixelData = np.stack(frames).tobytes()
    ds.PixelData += b"\0" * (len(ds.PixelData) % 2)
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    return ds


def with_lengths(ds, undefined):
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for inner in element.value:
                inner.is_undefined_length_sequence_item = undefined
                with_lengths(inner, undefined)
    return ds


for name, syntax in [("explicit", EXPLICIT), ("implicit", IMPLICIT), ("big", BIG)]:
    case(f"enhanced_{name}", [written(enhanced([2, 0, 3, 1]), syntax)])
    case(f"enhanced_{name}_undefined", [written(with_lengths(enhanced([1, 0, 2]), True), syntax)])
case("enhanced_own_rescales", [written(enhanced([1, 2, 0], [(-1024, 1), (-1000, 2), (0, 1)]))], itk=False)
case("enhanced_half_rescales", [written(enhanced([1, 0], [(-1024, 0.5), (-1000.5, 2)]))], itk=False)
case("enhanced_coronal", [written(enhanced([0, 2, 1], axes=(1, 0, 0, 0, 0, -1), per_frame_axes=True))], itk=False)
case("enhanced_one_frame", [written(enhanced([0]))])
case("enhanced_twelve_bits", [written(enhanced([3, 1, 2, 0], dtype="<u2", bits=12))])
case("enhanced_eight_bits", [written(enhanced([3, 1, 2, 0], dtype="u1", bits=8))])

native = enhanced([2, 0, 1])
expected = values_of([pydicom.dcmread(io.BytesIO(written(native)))])[0]
data = written(native)
# The groups as a gateway writes them that does not know them: VR UN, implicit within.
as_unknown = written(native, IMPLICIT)
start, stop = as_unknown.index(tag(0x5200, 0x9229)), as_unknown.index(tag(0x7FE0, 0x0010))
at = data.index(tag(0x5200, 0x9229))
end = data.index(tag(0x7FE0, 0x0010))
groups = b""
rest = as_unknown[start:stop]
while rest:
    length = struct.unpack("<I", rest[4:8])[0]
    groups += rest[:4] + b"UN\0\0" + rest[4 : 8 + length]
    rest = rest[8 + length :]
case("enhanced_groups_of_unknown_vr", [data[:at] + groups + data[end:]], expected)

compressed = pydicom.dcmread(io.BytesIO(data))
compressed.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
case("enhanced_rle", [raw(compressed, RLELossless)], expected)
fragments = list(pydicom.encaps.generate_frames(compressed.PixelData, number_of_frames=3))
for name, has_table, parts in [("without_table", False, 1), ("with_table", True, 1), ("in_parts", True, 2)]:
    compressed.PixelData = encapsulate(fragments, fragments_per_frame=parts, has_bot=has_table)
    compressed["PixelData"].is_undefined_length = True
    case(f"enhanced_rle_{name}", [raw(compressed, RLELossless)], expected)
compressed.PixelData, table, lengths = encapsulate_extended(fragments)
compressed["PixelData"].is_undefined_length = True
compressed.ExtendedOffsetTable, compressed.ExtendedOffsetTableLengths = table, lengths
case("enhanced_rle_extended_table", [raw(compressed, RLELossless)], expected)

with open(__file__.replace(".py", ".txt"), "w") as out:
    print(f"# pydicom {pydicom.__version__}, SimpleITK {SimpleITK.Version().VersionString()}, numpy {np.__version__}", file=out)
    print("# equal by SimpleITK:", " ".join(read_by_itk), file=out)
    print("# not read by pydicom, values of the same slices in plain form:", " ".join(not_by_pydicom), file=out)
    for line in lines:
        print(line, file=out)
