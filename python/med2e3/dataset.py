"""A prepared dataset: volumes, texts, splits, subsets, and what was set aside."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow.parquet as pq

from .files import SCHEMA_VERSION, DatasetError, Table, member, read_index

if TYPE_CHECKING:
    import torch

    from .training import TextRows

__all__ = ["SCHEMA_VERSION", "Dataset", "DatasetError", "Samples", "Volume", "Volumes", "open"]

CODES = {"u8": np.dtype("u1"), "i16": np.dtype("<i2"), "f32": np.dtype("<f4")}

Id = str | bytes
"""An id: 32 hex digits, or its 16 bytes."""


def open(path: str | pathlib.Path) -> Dataset:
    """Opens a folder that `med2e3-data prepare` wrote. No shard is read yet.

    Raises DatasetError for a folder that is no dataset or is of another version than SCHEMA_VERSION.
    """
    return Dataset(path)


def as_hex(id: Id) -> str:
    """The id as 32 hex digits."""
    return id.hex() if isinstance(id, bytes) else id.lower()


class Volume(Mapping[str, Any]):
    """One volume. As a mapping it is its row without the voxels; `volume["plane"]`. Voxels are read when they are asked for."""

    def __init__(self, volumes: Volumes, number: int) -> None:
        self._volumes, self.number = volumes, number
        self._row: dict[str, Any] = volumes._metadata_row(number)

    @property
    def id(self) -> str:
        """The volume's id as 32 hex digits."""
        return self._row["volume_id"]

    def __getitem__(self, column: str) -> Any:
        if column not in self._row:
            raise KeyError(f"{column}: the columns are {', '.join(self._row)}")
        return self._row[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __repr__(self) -> str:
        return f"Volume({self.id})"

    def codes(self) -> np.ndarray:
        """The codes as stored, (D, H, W), u1, i2 or f4; read only."""
        return self._volumes._codes(self.number)

    def values(self) -> np.ndarray:
        """The values, (D, H, W), float32: from 0 to 1, or Hounsfield units where the recipe kept them."""
        voxels = self._volumes.format
        return self.codes().astype(np.float32) * np.float32(voxels["scale"]) + np.float32(voxels["offset"])

    def hounsfield(self) -> np.ndarray:
        """Hounsfield units, (D, H, W), float32, within half a code of what the preparation made. Under a window its ends stand for
        all values beyond them too.

        Raises DatasetError where they cannot be had back: a source that does not state them, or percentiles.
        """
        scale, offset = self.hounsfield_scale()
        return (self.codes() * scale + offset).astype(np.float32)

    def hounsfield_scale(self) -> tuple[float, float]:
        """The two numbers of HU = code * scale + offset.

        Raises DatasetError as `hounsfield`.
        """
        if self._volumes.hounsfield_scale is not None:
            return self._volumes.hounsfield_scale
        if self._volumes.is_scaled_by_row:
            if not self["hu_known"]:
                raise DatasetError(f"volume {self.id}: its source does not state Hounsfield units (hu_known)")
            low, span = self["value_min"], self["value_max"] - self["value_min"]
            return self._volumes.format["scale"] * span, self._volumes.format["offset"] * span + low
        raise DatasetError("the dataset's recipe does not keep Hounsfield units: volumes were scaled by their own percentiles")


class Volumes(Sequence[Volume]):
    """The volumes by number or by id. Reading in order costs each row group once; at random, one row group a volume."""

    def __init__(self, folder: pathlib.Path, index: Mapping[str, Any]) -> None:
        self._table = Table(folder, index["volumes"])
        self.format: dict[str, Any] = index["voxels"]
        """`shape_dhw`, `code`, `scale`, `offset`: value = code * scale + offset."""
        self._inputs = (index.get("inputs") or {}).get("volume")
        self._rows: Any = None
        self._numbers: dict[str, int] | None = None
        self._scale: tuple[float, float] | None | Literal["unread"] = "unread"
        if self.format["code"] not in CODES or any(size < 1 for size in self.format["shape_dhw"]):
            raise DatasetError(f"{folder}: expected voxels as u8, i16 or f32, found {self.format}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns of each volume."""
        depth, height, width = self.format["shape_dhw"]
        return depth, height, width

    @property
    def ids(self) -> list[str]:
        """The ids in order, as 32 hex digits."""
        return [id.hex() for id in self.metadata.column("volume_id").to_pylist()]

    @property
    def metadata(self) -> Any:
        """All columns but the voxels, of all rows, as an Arrow table; read once."""
        if self._rows is None:
            schema = self._table.schema()
            self._rows = self._table.columns([name for name in schema.names if name != "voxels"] if schema else ["volume_id"])
        return self._rows

    @property
    def hounsfield_scale(self) -> tuple[float, float] | None:
        """The numbers of HU = code * scale + offset where they are the same for all volumes: those in the metadata of the field
        `voxels`, or, in datasets from before they were there, of the recipe."""
        if self._scale == "unread":
            schema = self._table.schema()
            stated = (schema.field("voxels").metadata or {}) if schema else {}
            if b"hu_scale" in stated and b"hu_offset" in stated:
                self._scale = float(stated[b"hu_scale"]), float(stated[b"hu_offset"])
            else:
                self._scale = self._scale_of_recipe()
        return self._scale

    def _scale_of_recipe(self) -> tuple[float, float] | None:
        recipe = (self._inputs or {}).get("recipe")
        intensity = recipe["ct"]["intensity"] if isinstance(recipe, dict) and "ct" in recipe else None
        if intensity == "none":
            return self.format["scale"], self.format["offset"]
        if isinstance(intensity, dict) and "window" in intensity:
            center, width = intensity["window"]["center"], intensity["window"]["width"]
            return width * self.format["scale"], center - width / 2
        return None

    @property
    def is_scaled_by_row(self) -> bool:
        """Whether `value_min` and `value_max` of a row became 0 and 1."""
        return (self._inputs or {}).get("recipe") == "m3d"

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, which: int | Id) -> Volume:  # type: ignore[override]
        if isinstance(which, (str, bytes)):
            return Volume(self, self.number(which))
        if not -len(self) <= which < len(self):
            raise IndexError(f"volume {which} of {len(self)}")
        return Volume(self, which % len(self))

    def __iter__(self) -> Iterator[Volume]:
        return (Volume(self, number) for number in range(len(self)))

    def number(self, id: Id) -> int:
        """The number of the volume with this id. Raises KeyError where there is none."""
        if self._numbers is None:
            self._numbers = {id: number for number, id in enumerate(self.ids)}
        try:
            return self._numbers[as_hex(id)]
        except KeyError:
            raise KeyError(f"no volume {as_hex(id)}; its input may have been set aside, see rejects") from None

    def _metadata_row(self, number: int) -> dict[str, Any]:
        row: dict[str, Any] = self.metadata.slice(number, 1).to_pylist()[0]
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}

    def _codes(self, number: int) -> np.ndarray:
        table, place = self._table.row(number)
        cell = table.column("voxels")[place].as_py()
        kind = CODES[self.format["code"]]
        depth, height, width = self.shape
        if len(cell) != depth * height * width * kind.itemsize:
            raise DatasetError(f"volume {number}: expected {depth}x{height}x{width} voxels of {kind}, found {len(cell)} bytes")
        return np.frombuffer(cell, kind).reshape(self.shape)


class Samples(Sequence[dict[str, Any]]):
    """The texts by number or by id, as dicts: ids are 32 hex digits, `target_spans` pairs of start and end."""

    def __init__(self, folder: pathlib.Path, index: Mapping[str, Any]) -> None:
        self._table = Table(folder, index["samples"])
        self._keys: Any = None
        self._numbers: dict[str, int] | None = None

    @property
    def keys(self) -> Any:
        """`sample_id`, `split` and `task` of all rows as an Arrow table; read once."""
        if self._keys is None:
            self._keys = self._table.columns(["sample_id", "split", "task"])
        return self._keys

    @property
    def ids(self) -> list[str]:
        """The ids in order, as 32 hex digits."""
        return [id.hex() for id in self.keys.column("sample_id").to_pylist()]

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, which: int | Id) -> dict[str, Any]:  # type: ignore[override]
        if isinstance(which, (str, bytes)):
            which = self.number(which)
        if not -len(self) <= which < len(self):
            raise IndexError(f"text {which} of {len(self)}")
        table, place = self._table.row(which % len(self))
        return _sample(table.slice(place, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for table in self._table.groups():
            for batch in table.to_batches(max_chunksize=64):
                yield from map(_sample, batch.to_pylist())

    def number(self, id: Id) -> int:
        """The number of the text with this id. Raises KeyError where there is none."""
        if self._numbers is None:
            self._numbers = {id: number for number, id in enumerate(self.ids)}
        try:
            return self._numbers[as_hex(id)]
        except KeyError:
            raise KeyError(f"no text {as_hex(id)}") from None


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    row["sample_id"] = row["sample_id"].hex()
    row["volume_ids"] = [id.hex() for id in row["volume_ids"]]
    row["target_spans"] = [(span["start"], span["end"]) for span in row["target_spans"]]
    return row


class Dataset:
    """A prepared dataset."""

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        """The folder."""
        self.index: dict[str, Any] = read_index(self.path)
        """`dataset.json`."""
        try:
            self.volumes = Volumes(self.path, self.index)
            self.samples = Samples(self.path, self.index)
            self._files: dict[str, Any] = dict(self.index["files"])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{self.path}: expected the index of a dataset, found {error!r}") from error

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, {len(self.volumes)} volumes, {len(self.samples)} texts)"

    @property
    def splits(self) -> list[str]:
        """The splits that texts are in."""
        return sorted(self.index["counts"])

    @property
    def subsets(self) -> list[str]:
        """Names of subsets; a new split NAME has the subsets NAME-train, NAME-validation and NAME-test."""
        names = (pathlib.PurePosixPath(name) for name in self._files)
        return sorted(name.stem for name in names if str(name.parent) == "subsets" and name.suffix == ".parquet")

    @property
    def tokenizer(self) -> pathlib.Path | None:
        """The `tokenizer.json` of the ids; none where there are no texts."""
        name = self.index.get("tokenizer")
        return member(self.path, name) if name else None

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """The inputs that became no row, each with its reason."""
        name = "quarantine.parquet"
        return self._rows(name) if name in self._files else []

    def subset(self, name: str) -> list[str]:
        """The ids of a subset's texts.

        Raises DatasetError for a name that the dataset does not have.
        """
        if name not in self.subsets:
            raise DatasetError(f"no subset {name!r}; there are {', '.join(self.subsets) or 'none'}")
        return [row["sample_id"].hex() for row in self._rows(f"subsets/{name}.parquet")]

    def numbers(self, split: str | None = None, subset: str | None = None) -> list[int]:
        """The numbers of the texts of a split, of a subset, or of both at once; all without either.

        Raises DatasetError for a split or a subset that the dataset does not have.
        """
        if split is not None and split not in self.splits:
            raise DatasetError(f"no split {split!r}; there are {', '.join(self.splits) or 'none'}")
        chosen = set(self.subset(subset)) if subset is not None else None
        splits = self.samples.keys.column("split").to_pylist()
        ids = self.samples.ids if chosen is not None else []
        fits = lambda number: (split is None or splits[number] == split) and (chosen is None or ids[number] in chosen)
        return [number for number in range(len(splits)) if fits(number)]

    def torch(
        self, split: str | None = None, subset: str | None = None, values: Literal["unit", "hu"] | None = None
    ) -> TextRows:
        """A map-style torch Dataset of texts with their volumes.

        `values` are the voxels: "unit" from 0 to 1, "hu" Hounsfield units, without it as the recipe left them. A row is a dict:
        `voxels` float32 (volumes, 1, D, H, W), in the order of the volumes' marks in `ids`; `ids` and `labels` int64 (T,), labels
        -100 where nothing is to be learned; `question_ids` int64 (Q,); `sample_id`, `question`, `answer`, `task`.

        Raises DatasetError for a split or subset that is not there, and for values that the dataset cannot give.
        """
        from .training import TextRows

        return TextRows(self, self.numbers(split, subset), values)

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor | list[str]]:
        """Rows of `torch` as a batch: `collate_fn` of a DataLoader.

        `voxels` (all volumes, 1, D, H, W) with `volume_counts` (B,); `ids`, `labels`, `attention_mask` (B, T) padded at the right
        with the end token, -100 and False; `question_ids` and `question_mask` (B, Q) in the same way; the texts as lists.
        """
        from .training import collate

        return collate(rows, self.index.get("end_token") or 0)

    def _rows(self, name: str) -> list[dict[str, Any]]:
        path = member(self.path, name)
        try:
            return pq.ParquetFile(path).read(use_threads=False).to_pylist()
        except Exception as error:
            raise DatasetError(f"{path}: expected a table, found {error}") from error
