"""Small pictures encoded by libjpeg-turbo, CharLS, OpenJPEG and pydicom, and what those make of lossy ones.

Run with Python 3 and `pip install numpy pydicom imagecodecs pyjpegls`; writes dicom.txt to the folder of this file.

Lines: `picture NAME ROWS COLUMNS BITS SIGNED SAMPLES` and `stream NAME SYNTAX PICTURE BYTES`: SYNTAX ends the UID
1.2.840.10008.1.2, PICTURE is what the stream decodes to, SAMPLES are 16-bit little-endian, both in hexadecimal.
"""

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

ROWS, COLUMNS = 12, 14
rng = np.random.default_rng(7)
y, x = np.mgrid[:ROWS, :COLUMNS]

# Flat regions for runs, a slope, noise up to both ends of the range.
slope = 60 * x + 37 * y
noise = rng.integers(0, 4096, (ROWS, COLUMNS))
unsigned12 = np.where(x < 5, 1000, np.where(y < 6, slope, noise))
unsigned12[0, 13], unsigned12[11, 13] = 0, 4095
signed16 = np.where(y < 4, -1024, np.where(x < 7, slope - 900, rng.integers(-32768, 32768, (ROWS, COLUMNS))))
unsigned8 = np.where(x + y < 9, 7, (slope // 8 + rng.integers(0, 9, (ROWS, COLUMNS)))) & 255

pictures = {
    "unsigned12": (unsigned12.astype("<u2"), 12),
    "signed16": (signed16.astype("<i2"), 16),
    "unsigned8": (unsigned8.astype("u1"), 8),
}
streams = []


def add(name, syntax, picture, stream):
    streams.append(f"stream {name} {syntax} {picture} {bytes(stream).hex()}")


def lossy(name, syntax, of, stream, decoded):
    """Adds a stream that decodes to another picture than was encoded."""
    picture, bits = pictures[of]
    decoded = np.asarray(decoded)
    if bits < 16:
        # Near-lossless coding may lead out of the stored bits where the stream has more.
        decoded = decoded.clip(0, (1 << bits) - 1)
    assert decoded.shape == picture.shape and (decoded != picture).any(), name
    pictures[name] = (decoded.astype(picture.dtype), bits)
    add(name, syntax, name, stream)


def raw(name):
    """The bits as a codec without signs sees them."""
    picture, bits = pictures[name]
    return picture.view("<u2") if picture.dtype == "<i2" else picture, bits


for name in ("unsigned12", "signed16"):
    bits_of, bits = raw(name)
    for predictor in (1,) if name == "unsigned12" else range(1, 8):
        stream = imagecodecs.jpeg_encode(bits_of, lossless=True, predictor=predictor, bitspersample=bits)
        assert (imagecodecs.jpeg_decode(stream) == bits_of).all()
        add(f"{name}_predictor{predictor}", ".4.70" if predictor == 1 else ".4.57", name, stream)

for name in list(pictures):
    bits_of, bits = raw(name)
    # CharLS takes the bits a sample from the type: 12 of 16 bits come as 16.
    stream = imagecodecs.jpegls_encode(bits_of)
    add(f"{name}_ls", ".4.80", name, stream)
    near = imagecodecs.jpegls_encode(bits_of, level=3)
    lossy(f"{name}_near3", ".4.81", name, near, imagecodecs.jpegls_decode(near).view(pictures[name][0].dtype))
    picture = pictures[name][0]
    stream = imagecodecs.jpeg2k_encode(picture, level=0, reversible=True, codecformat="j2k", bitspersample=bits)
    assert (imagecodecs.jpeg2k_decode(stream) == picture).all()
    add(f"{name}_2000", ".4.90", name, stream)
    if bits != 16:
        stream = imagecodecs.jpeg2k_encode(picture, level=55, reversible=False, codecformat="j2k", bitspersample=bits)
        lossy(f"{name}_2000_lossy", ".4.91", name, stream, imagecodecs.jpeg2k_decode(stream))

# 12 bits a sample, which the array interface of imagecodecs cannot ask of CharLS.
stream = jpeg_ls.encode_buffer(unsigned12.astype("<u2").tobytes(), ROWS, COLUMNS, 1, 12)
add("unsigned12_ls12", ".4.80", "unsigned12", stream)

stream = imagecodecs.jpeg_encode(unsigned8.astype("u1"), level=95)
lossy("unsigned8_baseline", ".4.50", "unsigned8", stream, imagecodecs.jpeg_decode(stream))


for name in ("unsigned12", "signed16", "unsigned8"):
    picture, bits = pictures[name]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = picture.dtype.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(picture.dtype.kind == "i")
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    ds.PixelData = picture.tobytes()
    ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    add(f"{name}_rle", ".5", name, next(generate_frames(ds.PixelData, number_of_frames=1)))

with open(__file__.replace(".py", ".txt"), "w") as out:
    print(
        f"# pydicom {pydicom.__version__}, imagecodecs {imagecodecs.__version__}, {imagecodecs.jpeg_version()},",
        f"{imagecodecs.jpegls_version()}, {imagecodecs.jpeg2k_version()}",
        file=out,
    )
    for name, (picture, bits) in pictures.items():
        signed = int(picture.dtype.kind == "i")
        samples = picture.astype("<i2" if signed else "<u2").tobytes().hex()
        print("picture", name, ROWS, COLUMNS, bits, signed, samples, file=out)
    for stream in streams:
        print(stream, file=out)
