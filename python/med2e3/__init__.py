"""Datasets of CT volumes with texts that `med2e3-data prepare` wrote.

    import med2e3

    ds = med2e3.open("dataset")
    ds.volumes[0].values()          # float32 (D, H, W)
    ds.volumes[0].hounsfield()      # the same in Hounsfield units
    ds.samples[0]["question"]
    ds.torch(split="train")         # a map-style torch Dataset; ds.collate pads its rows to a batch

Needs pyarrow and numpy; torch only for `Dataset.torch` and `Dataset.collate`. `med2e3.model` loads what `med2e3 export` wrote
with transformers. One version of this package reads one version of the files, `SCHEMA_VERSION`.
"""

from .dataset import SCHEMA_VERSION, Dataset, DatasetError, Samples, Volume, Volumes, open

__all__ = ["SCHEMA_VERSION", "Dataset", "DatasetError", "Samples", "Volume", "Volumes", "open"]
__version__ = "0.1.0"
