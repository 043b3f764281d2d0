"""The files of a dataset: its index, and tables in shards that are read a row group at a time."""

from __future__ import annotations

import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 2
"""Version of the files that this package reads."""

INDEX = "dataset.json"
INDEX_BYTES = 1 << 28


class DatasetError(Exception):
    """A folder that is no dataset, is of another version, or does not have what was asked for."""


def read_index(folder: pathlib.Path) -> dict[str, Any]:
    """The index of a dataset, of this package's version.

    Raises DatasetError for a folder without one, and for one of another version.
    """
    path = folder / INDEX
    if not path.is_file():
        raise DatasetError(f"{folder}: expected a folder that med2e3-data prepare wrote, found no {INDEX}")
    if path.stat().st_size > INDEX_BYTES:
        raise DatasetError(f"{path}: expected at most {INDEX_BYTES} bytes, found {path.stat().st_size}")
    try:
        index = json.loads(path.read_text("utf-8"))
        found = index["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: expected the index of a dataset, found {error}") from error
    if found != SCHEMA_VERSION:
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        remedy = "take a newer med2e3" if newer else "prepare the dataset again, or take an older med2e3"
        raise DatasetError(f"{path}: expected version {SCHEMA_VERSION}, found version {found}: {remedy}")
    return index


def member(folder: pathlib.Path, relative: str) -> pathlib.Path:
    """The regular file of a dataset at a path that its index states.

    Raises DatasetError for a path that leads out of the folder, and for anything but a regular file.
    """
    path = folder / relative
    parts = pathlib.PurePosixPath(relative)
    real = pathlib.Path(os.path.realpath(path))
    if parts.is_absolute() or ".." in parts.parts or not real.is_relative_to(os.path.realpath(folder)):
        raise DatasetError(f"{folder / INDEX}: expected paths within the folder, found {relative!r}")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise DatasetError(f"{path}: expected a regular file")
    return path


class Table:
    """The rows of one table's shards. One row group is in memory at a time: 64 MiB of voxels, or 4,096 texts."""

    def __init__(self, folder: pathlib.Path, shards: list[dict[str, Any]]) -> None:
        self._folder = folder
        self._shards = [(shard["path"], int(shard["rows"])) for shard in shards]
        self._forget()

    def _forget(self) -> None:
        self._files: dict[int, pq.ParquetFile] = {}
        self._group: tuple[tuple[int, int], pa.Table] | None = None
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_shards": self._shards}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return sum(rows for _, rows in self._shards)

    def file(self, shard: int) -> pq.ParquetFile:
        """A shard, opened once in a process."""
        if self._process != os.getpid():
            # A worker that was forked has the parent's files, and would share their place.
            self._forget()
        if shard not in self._files:
            name, rows = self._shards[shard]
            path = member(self._folder, name)
            try:
                file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
            except (pa.ArrowException, OSError) as error:
                raise DatasetError(f"{path}: expected a shard, found {error}") from error
            if file.metadata.num_rows != rows:
                raise DatasetError(f"{path}: expected {rows} rows, found {file.metadata.num_rows}")
            self._files[shard] = file
        return self._files[shard]

    def schema(self) -> pa.Schema | None:
        """The Arrow schema; none where there is no shard."""
        return self.file(0).schema_arrow if self._shards else None

    def columns(self, names: list[str]) -> pa.Table:
        """These columns of all rows."""
        tables = [self._read(shard, names=names) for shard in range(len(self._shards))]
        return pa.concat_tables(tables) if tables else pa.table({name: [] for name in names})

    def row(self, number: int) -> tuple[pa.Table, int]:
        """A table that holds the row, and the row's place in it."""
        for shard, (_, rows) in enumerate(self._shards):
            if number >= rows:
                number -= rows
                continue
            metadata = self.file(shard).metadata
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                if number < rows:
                    return self._row_group(shard, group), number
                number -= rows
        raise IndexError(f"row {number} of a table of {len(self)} rows")

    def groups(self) -> Iterator[pa.Table]:
        """All rows in order, a row group at a time."""
        for shard in range(len(self._shards)):
            for group in range(self.file(shard).metadata.num_row_groups):
                yield self._row_group(shard, group)

    def _row_group(self, shard: int, group: int) -> pa.Table:
        self.file(shard)
        if self._group is None or self._group[0] != (shard, group):
            # The earlier one goes first, so that two are never held.
            self._group = None
            self._group = ((shard, group), self._read(shard, group=group))
        return self._group[1]

    def _read(self, shard: int, names: list[str] | None = None, group: int | None = None) -> pa.Table:
        file = self.file(shard)
        try:
            if group is None:
                return file.read(columns=names, use_threads=False)
            return file.read_row_group(group, columns=names, use_threads=False)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DatasetError(f"{self._folder / self._shards[shard][0]}: {error}") from error
