"""Recipe hashes of three configurations and the identities of two manifest ranges, by an implementation of its own.

The format is that of schemas/src/identity.rs; the parts are those of pipeline/prepare/src/run/recipe_hash.rs and
schemas/src/manifest.rs. Needs blake3 (1.0). Run in the repository's root:

    python3 pipeline/prepare/tests/golden/identities.py > pipeline/prepare/tests/golden/identities.txt
"""

import struct
import tomllib

from blake3 import blake3

REVISION = 4
WINDOWS = {"soft_tissue": (40, 400), "lung": (-600, 1500), "bone": (400, 1800), "brain": (40, 80),
           "mediastinum": (50, 350), "wide": (0, 2000)}


def number(value):
    return b"n" + struct.pack("<Q", value)


def single(value):
    return b"f" + struct.pack("<f", value)


def double(value):
    return b"d" + struct.pack("<d", value)


def raw(value):
    return b"b" + struct.pack("<Q", len(value)) + value


def text(value):
    value = value.encode()
    return b"t" + struct.pack("<Q", len(value)) + value


def flag(value):
    return b"1" if value else b"0"


def maybe(value, add):
    return b"-" if value is None else b"+" + add(value)


def several(values, add):
    return b"l" + struct.pack("<Q", len(values)) + b"".join(map(add, values))


def identity(kind, *parts):
    return blake3(text("med2e3 identity 1") + text(kind) + b"".join(parts)).hexdigest()[:32]


def key(*parts):
    """The key of a volume: lengths are hashed too."""
    return blake3(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).digest()[:16]


def recipe(config):
    volume = config["volume"]
    parts = several(volume["shape"], number) + text(volume["voxels"])
    if volume["recipe"] == "m3d":
        return parts + text("m3d")
    ct = volume["recipe"]["ct"]
    parts += text("ct") + maybe(ct.get("spacing_mm"), lambda mm: several(mm, single))
    intensity = ct.get("intensity", "none")
    if intensity == "none":
        parts += text("none")
    elif "window" in intensity:
        window = intensity["window"]
        level = WINDOWS[window] if isinstance(window, str) else (window["center"], window["width"])
        parts += text("window") + single(level[0]) + single(level[1])
    else:
        parts += text("percentile") + double(intensity["percentile"]["low"]) + double(intensity["percentile"]["high"])
    crop = ct.get("crop", "foreground")
    parts += text(crop) if isinstance(crop, str) else text("above_hu") + single(crop["above_hu"])
    # Percentiles of a volume are not kept, so one scale does not give its Hounsfield units.
    return parts if "percentile" in intensity else parts + text("a scale of Hounsfield units")


def hashes(path):
    with open(path, "rb") as file:
        config = tomllib.load(file)
    names, engine, words = raw(key(b"recipe")), config["engine"], config["text"]
    volumes = identity("volume recipe", number(REVISION), recipe(config), names, number(engine["volumes_per_range"]))
    texts = identity(
        "text recipe", number(REVISION), text(words["template"]), number(words["length"]), number(words["visual_tokens"]),
        flag(words.get("keep_end", False)), names, number(engine["texts_per_range"]), b"---")
    return volumes, texts, identity("recipe", text(volumes), text(texts))


for name in ["prepare/m3d.toml", "prepare/ct.toml", "demo/prepare.toml"]:
    print(name, *hashes(f"configs/{name}"))

volume_id, sample_id = key(b"a.npy"), key(b"sample")
volume = raw(volume_id) + text("a.npy") + text("a") + text("1") + text("a") + text("M3D_Cap.json train[0]")
refused = raw(volume_id) + text("../b") + text("") + text("") + text("b") + text("x.csv:2")
refused += b"+" + text("path_outside_root") + text("expected a path within the data root, found ../b")
print("volumes", identity("manifest range", number(7), volume + b"-", number(8), refused))

closed = raw(sample_id) + several([volume_id], raw) + several(["a.npy"], text) + text("closed_vqa") + b"+" + number(1)
closed += text("test") + text("1") + text("Which?") + text("A. axial") + b"-" + b"+" + several(["axial", "NA"], text)
closed += b"+" + text("A") + text("x.csv:2") + b"-" + flag(True)
turns = [("<image3d>\nSame?", "Yes."), ("Sure?", "Yes.")]
talk = raw(sample_id) + several([volume_id, volume_id], raw) + several(["a.npy", "a.npy"], text) + text("open_vqa") + b"-"
talk += text("train") + text("") + text("Same?") + text("Yes.")
talk += b"+" + several(turns, lambda turn: text(turn[0]) + text(turn[1])) + b"-" + b"-" + text("y.json[0]") + b"-" + flag(False)
print("texts", identity("manifest range", number(0), closed, number(1), talk))
