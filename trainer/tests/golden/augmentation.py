"""Volumes changed by MONAI's random transforms of M3D's training, and what those transforms drew.

The transforms are those of BAAI-DCAI/M3D (LaMed/src/dataset/multi_dataset.py): RandRotate90 in the plane of H and W, RandFlip of
each axis, RandScaleIntensity, RandShiftIntensity, in this order.
"""

import numpy
import torch
from monai.transforms import RandFlip, RandRotate90, RandScaleIntensity, RandShiftIntensity

from common import write

SHAPE = (3, 6, 6)
VOLUMES = 48


def changed(volume, seed):
    """The changed volume, and its draw: quarter turns, three flips, factor and offset, the last two NaN where there is none."""
    rotate = RandRotate90(prob=0.5, max_k=3, spatial_axes=(1, 2))
    # Flips oftener than in M3D's training, so that a few volumes show each.
    flips = [RandFlip(prob=0.4, spatial_axis=axis) for axis in range(3)]
    scale, shift = RandScaleIntensity(factors=0.1, prob=0.5), RandShiftIntensity(offsets=0.1, prob=0.5)
    for place, transform in enumerate([rotate, *flips, scale, shift]):
        transform.set_random_state(seed=100 * seed + place)
        volume = transform(volume)
    turns = rotate._rand_k if rotate._do_transform else 0
    factor = scale.factor if scale._do_transform else numpy.nan
    offset = shift._offset if shift._do_transform else numpy.nan
    return volume.as_tensor(), [turns, *[float(flip._do_transform) for flip in flips], factor, offset]


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(12)
    codes = torch.randint(0, 256, (VOLUMES, 1, *SHAPE), generator=generator, dtype=torch.uint8)
    volumes, draws = zip(*[changed(volume.float() / 255, seed) for seed, volume in enumerate(codes)])
    draws = torch.tensor(draws, dtype=torch.float32)
    assert set(draws[:, 0].int().tolist()) == {0, 1, 2, 3} and (draws[:, 1:4].sum(0) > 5).all()
    assert all(5 < kept < VOLUMES - 5 for kept in draws[:, 4:].isnan().sum(0).tolist())
    write(__file__, {"codes": codes, "draws": draws, "values": torch.stack(volumes)})
