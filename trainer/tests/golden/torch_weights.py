"""Files of weights in every form, and what they hold: small files by name, as bytes in one safetensors file.

`file/NAME` is a file as torch.save, safetensors or json wrote it, or one damaged here; `expected/NAME/TENSOR` is what
torch itself finds in it, contiguous.
"""

import collections
import io
import json
import os
import pickle
import struct
import tempfile
import zipfile

import torch
from safetensors.torch import save, save_file

from common import write

generator = torch.Generator().manual_seed(3)
files, expected, other = {}, {}, {}


def saved(value, **options):
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def good(name, value, tensors=None, passed_over=(), **options):
    """A file whose tensors torch reads back as they were."""
    files[name] = saved(value, **options)
    tensors = value if tensors is None else tensors
    for key, tensor in tensors.items():
        expected[f"{name}/{key}"] = tensor.detach()
    other[name] = list(passed_over)


def random(*shape, dtype=torch.float32):
    values = torch.randn(*shape, generator=generator) * 50
    return values.to(dtype)


kinds = {
    "float": random(3, 4),
    "half": random(5, dtype=torch.float16),
    "bfloat16": random(2, 3, dtype=torch.bfloat16),
    "double": random(4, dtype=torch.float64),
    "long": torch.tensor([-(2**62), -1, 0, 2**62]),
    "int": random(3, dtype=torch.int32),
    "short": random(3, dtype=torch.int16),
    "char": torch.tensor([-128, 127], dtype=torch.int8),
    "byte": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "not_finite": torch.tensor([float("nan"), float("inf"), -0.0]),
}
good("kinds", kinds)
good("protocol_4", kinds, pickle_protocol=4)
good("protocol_5", kinds, pickle_protocol=5)

base, cube = random(6, 5), random(2, 3, 4)
good(
    "views",
    {
        "base": base,
        "transposed": base.t(),
        "rows": base[2:5],
        "columns": base[:, 1:4],
        "every_second": base[1::2, ::2],
        "diagonal": base.diagonal(),
        "expanded": base[:, :1].expand(6, 7),
        "expanded_scalar": torch.tensor(3.0).expand(2, 2),
        "permuted": cube.permute(2, 0, 1),
        "unfolded": torch.arange(8.0).unfold(0, 3, 1),
        "last": base[5, 4],
        "empty_slice": base[6:],
        "channels_last": random(2, 3, 4, 5).to(memory_format=torch.channels_last),
    },
)
# As a mixed-precision engine leaves them: views into one flat buffer.
flat = random(100, dtype=torch.bfloat16)
good("one_storage", {"a": flat[:24].view(4, 6), "b": flat[24:28], "c": flat[28:].view(8, 9)})

module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.Embedding(4, 3))
with torch.no_grad():
    for parameter in module.parameters():
        parameter.copy_(random(*parameter.shape))
good("module", module.state_dict())
good("parameters", {"tied": module[2].weight, "head": module[2].weight, "frozen": torch.nn.Parameter(base, False)})
good("ordered", collections.OrderedDict(z=base[0], a=base[1]))

extras = {
    "epoch": 3,
    "loss": 0.5,
    "name": "a run",
    "done": False,
    "nothing": None,
    "wide": 2**70,
    "raw": b"\x00\xff",
    "shape": torch.Size([1, 2]),
    "list": [base, {"x": 1}],
    "optimizer": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": base}}, "param_groups": [{"lr": 1e-3}]},
    7: "seven",
}
good("beside", {"w": base} | extras, {"w": base}, map(str, extras))
good("nested", {"epoch": 3, "state_dict": module.state_dict(), "lr": 0.1}, module.state_dict(), ["epoch", "lr"])
good("nested_extra", {"model": {"w": base, "version": 2}, "step": 1}, {"w": base}, ["version", "step"])


# --- refused
def bad(name, data):
    files[f"bad/{name}"] = data


def repacked(data, change, **options):
    """The archive with entries changed: bytes for bytes, or None to leave one out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", **options) as new:
        for entry in old.namelist():
            content = change(entry.split("/", 1)[1], old.read(entry))
            if content is not None:
                new.writestr(entry, content)
    return out.getvalue()


def pickled(change):
    return repacked(files["simple"], lambda entry, data: change(data) if entry == "data.pkl" else data)


def replaced(old, new):
    def change(data):
        assert data.count(old) == 1, (old, data)
        return data.replace(old, new)

    return pickled(change)


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Shell:
    def __reduce__(self):
        return os.system, ("echo called",)


class Mine:
    pass


def with_zip64(data):
    """The directory as of an archive past 4 GB: its numbers in 64 bits, 32-bit ones saturated."""
    end = data.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<H2I", data, end + 10)
    directory, at = b"", start
    while at < start + size:
        head = bytearray(data[at : at + 46])
        name, extra, comment = struct.unpack_from("<3H", head, 28)
        packed, length = struct.unpack_from("<2I", head, 20)
        (header,) = struct.unpack_from("<I", head, 42)
        struct.pack_into("<2I", head, 20, 2**32 - 1, 2**32 - 1)
        struct.pack_into("<H", head, 30, 28)
        struct.pack_into("<I", head, 42, 2**32 - 1)
        wide = struct.pack("<2H3Q", 1, 24, length, packed, header)
        directory += bytes(head) + data[at + 46 : at + 46 + name] + wide + data[at + 46 + name + extra :][:comment]
        at += 46 + name + extra + comment
    end64 = b"PK\x06\x06" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, start + len(directory), 1)
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    return data[:start] + directory + end64 + locator + end


good("zip64", {"w": base, "v": base[0]})
files["zip64"] = with_zip64(files["zip64"])
good("simple", {"w": torch.arange(6.0).view(2, 3)})
bad("legacy", saved({"w": base}, _use_new_zipfile_serialization=False))
bad("system", saved({"w": base, "x": Shell()}))
bad("eval", saved({"x": Calls(eval, "1 + 1")}))
bad("eval_protocol_4", saved({"x": Calls(eval, "1 + 1")}, pickle_protocol=4))
bad("numpy", saved({"x": base.numpy()}))
bad("class", saved({"x": Mine()}))
bad("root_tensor", saved(base))
bad("root_list", saved([base]))
bad("no_tensors", saved({"epoch": 3}))
bad("two_dicts", saved({"model": {"w": base}, "ema": {"w": base}}))
bad("complex", saved({"w": torch.complex(base, base)}))
bad("float8", saved({"w": base.to(torch.float8_e4m3fn)}))
bad("sparse", saved({"w": base.to_sparse()}))
bad("negative", saved({"w": torch.imag(torch.complex(base, base).conj())}))
# K is an integer of one byte, J one of four, \x8a one of any length; `cpu` comes before the storage's elements.
numel = b"K\x06tq\x07Q"
bad("huge_numel", replaced(numel, b"\x8a\x08" + struct.pack("<q", 2**62) + numel[2:]))
bad("larger_numel", replaced(numel, b"K\x07" + numel[2:]))
bad("negative_numel", replaced(numel, b"J" + struct.pack("<i", -1) + numel[2:]))
view = b"K\x00K\x02K\x03\x86q\x08K\x03K\x01\x86"
bad("offset", replaced(view, b"K\x01" + view[2:]))
bad("shape", replaced(view, view.replace(b"K\x02K\x03", b"K\x03K\x03")))
bad("stride", replaced(view, view.replace(b"K\x03K\x01", b"K\x04K\x01")))
bad("negative_stride", replaced(view, view.replace(b"K\x03K\x01", b"J\xff\xff\xff\xffK\x01")))
bad("expanded_bomb", replaced(view, b"K\x00\x8a\x05" + (2**36).to_bytes(5, "little") + b"K\x03\x86q\x08K\x00K\x01\x86"))
bad("missing_storage", repacked(files["simple"], lambda entry, data: None if entry == "data/0" else data))
bad("no_pickle", repacked(files["simple"], lambda entry, data: None if entry == "data.pkl" else data))
bad("big_endian", repacked(files["simple"], lambda entry, data: b"big" if entry == "byteorder" else data))
bad("compressed", repacked(files["simple"], lambda entry, data: data, compression=zipfile.ZIP_DEFLATED))
bad("operation", pickled(lambda data: data[:-1] + b"\x97."))
bad("trailing", pickled(lambda data: data + b"N."))
bad("cut_pickle", pickled(lambda data: data[:-20]))
bad("cut", files["simple"][:-30])
encrypted = bytearray(files["simple"])
encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
bad("encrypted", bytes(encrypted))
bad("empty", b"")
bad("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
bad("pickle_alone", pickle.dumps({"w": 1}, 2))

# Two entries of one name, and an entry whose bytes are another's.
out = io.BytesIO(files["simple"])
with zipfile.ZipFile(out, "a") as archive:
    archive.writestr("archive/data/0", b"\0" * 24)
bad("name_twice", out.getvalue())
overlapping = bytearray(files["simple"])
with zipfile.ZipFile(io.BytesIO(files["simple"])) as archive:
    first = archive.infolist()[0].header_offset
    last = archive.infolist()[-1].filename.encode()
directory = overlapping.rindex(last) - 46
overlapping[directory + 42 : directory + 46] = struct.pack("<I", first + 4)
bad("overlapping", bytes(overlapping))

# --- safetensors: one file, several, and what an index may get wrong
good("safetensors", kinds)
files["safetensors"] = save(kinds)
parts = {"model-00001-of-00002": {"a": base, "b": cube}, "model-00002-of-00002": {"c": flat}}
for name, part in parts.items():
    with tempfile.TemporaryDirectory() as folder:
        save_file(part, f"{folder}/x", {"format": "pt"})
        files[f"{name}.safetensors"] = open(f"{folder}/x", "rb").read()
    files[f"{name}.bin"] = saved(part)
for key, tensor in parts["model-00001-of-00002"].items() | parts["model-00002-of-00002"].items():
    expected[f"index/{key}"] = tensor
for ending in ["safetensors", "bin"]:
    one, two = (f"{name}.{ending}" for name in parts)
    index = {"metadata": {"total_size": 416}, "weight_map": {"a": one, "b": one, "c": two}}
    files[f"index.{ending}"] = json.dumps(index, indent=2).encode()


def index(name, weight_map):
    files[f"bad_index/{name}"] = json.dumps({"weight_map": weight_map}).encode()


one, two = (f"{name}.safetensors" for name in parts)
index("missing_shard", {"a": one, "b": one, "c": "model-00003-of-00002.safetensors"})
index("missing_name", {"a": one, "b": one, "c": two, "d": two})
index("wrong_shard", {"a": one, "b": two, "c": two})
index("unmapped_name", {"a": one, "c": two})
index("parent", {"a": one, "b": one, "c": "../x"})
index("folder", {"a": one, "b": one, "c": f"x/{two}"})
index("absolute", {"a": one, "b": one, "c": f"/{two}"})
index("dot", {"a": one, "b": one, "c": f"./{two}"})
index("no_text", {"a": one, "b": one, "c": 3})
files["bad_index/name_twice"] = f'{{"weight_map": {{"a": "{one}", "b": "{one}", "c": "{one}", "c": "{two}"}}}}'.encode()
files["bad_index/no_map"] = b'{"metadata": {}}'
files["bad_index/cut"] = files["index.safetensors"][:-9]

# torch reads every good file as it is here.
for name in other:
    if name == "safetensors":
        continue
    read = torch.load(io.BytesIO(files[name]), weights_only=not name.startswith("protocol"))
    for container in (read, *(value for value in read.values() if isinstance(value, dict))):
        for key, tensor in container.items():
            if f"{name}/{key}" in expected:
                wanted = expected[f"{name}/{key}"]
                torch.testing.assert_close(tensor.detach(), wanted, rtol=0, atol=0, equal_nan=True)
contents = {f"file/{name}": torch.frombuffer(bytearray(data), dtype=torch.uint8) for name, data in files.items() if data}
contents["file/bad/empty"] = torch.zeros(0, dtype=torch.uint8)
write(__file__, contents | {f"expected/{name}": tensor for name, tensor in expected.items()}, other=other)
