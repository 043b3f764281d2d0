"""torch's trilinear interpolation and the whole m3d recipe on small volumes.

Run in this folder; writes trilinear.bin (float32, little-endian, the cases in order) and trilinear.txt (one case a line:
name, source shape, target shape, recipe or plain). Sources are made by `noise`, which the test repeats.
"""
import numpy as np
import torch


def noise(count, seed):
    n = (np.arange(count, dtype=np.uint64) + np.uint64(seed * 1000003)) * np.uint64(2654435761) % np.uint64(2**32)
    return (n >> np.uint64(20)).astype(np.float32)  # 0 ... 4095


def resize(volume, target):
    x = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
    return torch.nn.functional.interpolate(x, size=target, mode="trilinear", align_corners=False)[0, 0].numpy()


def recipe(volume, target):
    """m3d_cap_data_prepare.py, from the stacked volume on (MONAI's CropForeground and Resize written out)."""
    v = volume - volume.min()
    v = v / np.clip(v.max(), a_min=1e-8, a_max=None)
    where = np.argwhere(v > 0)
    low, high = where.min(0), where.max(0) + 1
    return resize(v[low[0]:high[0], low[1]:high[1], low[2]:high[2]], target)


out, lines = [], []


def case(name, shape, target, how, volume):
    out.append(how(volume, target).astype("<f4").ravel())
    lines.append(f"{name} {'x'.join(map(str, shape))} {'x'.join(map(str, target))}")


plain = [
    ((7, 9, 11), (4, 6, 8)), ((5, 6, 7), (8, 10, 12)), ((1, 9, 5), (4, 4, 4)), ((6, 1, 1), (3, 5, 7)), ((1, 1, 1), (2, 2, 2)),
    ((4, 6, 8), (4, 6, 8)), ((37, 61, 5), (8, 16, 8)), ((3, 4, 517), (2, 3, 100)), ((211, 3, 3), (33, 2, 2)), ((2, 347, 3), (1, 77, 2)),
]
for seed, (shape, target) in enumerate(plain):
    volume = noise(np.prod(shape), seed).reshape(shape) / np.float32(4095)
    case("plain", shape, target, resize, volume)
for seed, (shape, target) in enumerate([((9, 20, 24), (4, 8, 16)), ((3, 30, 17), (8, 16, 16))], start=100):
    # 8-bit slices with black borders, as M3D-Cap has them.
    volume = np.zeros(shape, np.float32)
    inner = tuple(slice(1, n - 1) if n > 3 else slice(None) for n in shape)
    values = (noise(np.prod(shape), seed).reshape(shape) % 256)
    volume[inner] = values[inner]
    case("recipe", shape, target, recipe, volume / np.float32(255))
np.concatenate(out).tofile("trilinear.bin")
with open("trilinear.txt", "w") as file:
    file.write(f"# torch {torch.__version__}, numpy {np.__version__}\n" + "\n".join(lines) + "\n")
