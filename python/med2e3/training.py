"""Texts with their volumes for torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from .files import DatasetError

if TYPE_CHECKING:
    from .dataset import Dataset, Volume

IGNORED = -100
"""The label of a token that is not to be learned; torch's `ignore_index`."""


class TextRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Some texts of a dataset with their volumes; see `Dataset.torch`."""

    def __init__(self, dataset: Dataset, numbers: list[int], values: Literal["unit", "hu"] | None) -> None:
        self._dataset, self._numbers, self._values = dataset, numbers, values
        voxels = dataset.volumes.format
        # Whether a value at the largest code is 1, whatever the code.
        maximum = {"u8": 255, "i16": 32767, "f32": 1}[voxels["code"]]
        is_unit = voxels["offset"] == 0 and abs(voxels["scale"] * maximum - 1) < 1e-6
        if values == "unit" and not is_unit:
            raise DatasetError('the dataset has Hounsfield units, not values from 0 to 1: values="hu"')
        if values == "hu" and dataset.volumes.hounsfield_scale is None and not dataset.volumes.is_scaled_by_row:
            raise DatasetError("the dataset's recipe does not keep Hounsfield units")
        if values not in ("unit", "hu", None):
            raise DatasetError(f'expected values "unit" or "hu", found {values!r}')

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> dict[str, Any]:
        sample = self._dataset.samples[self._numbers[number]]
        ids = torch.tensor(sample["ids"], dtype=torch.int64)
        labels = torch.full_like(ids, IGNORED)
        for start, end in sample["target_spans"]:
            labels[start:end] = ids[start:end]
        volumes = [self._voxels(self._dataset.volumes[id]) for id in sample["volume_ids"]]
        stacked = np.stack(volumes) if volumes else np.empty((0, *self._dataset.volumes.shape), np.float32)
        return {
            "voxels": torch.from_numpy(stacked)[:, None],
            "ids": ids,
            "labels": labels,
            "question_ids": torch.tensor(sample["question_ids_llm"], dtype=torch.int64),
            **{name: sample[name] for name in ("sample_id", "question", "answer", "task")},
        }

    def _voxels(self, volume: Volume) -> np.ndarray:
        return volume.hounsfield() if self._values == "hu" else volume.values()


def collate(rows: Sequence[Mapping[str, Any]], pad: int) -> dict[str, torch.Tensor | list[str]]:
    """Rows as a batch; see `Dataset.collate`."""
    padded = lambda name, value: pad_sequence([row[name] for row in rows], batch_first=True, padding_value=value)
    mask = lambda name: pad_sequence([torch.ones_like(row[name], dtype=torch.bool) for row in rows], batch_first=True)
    return {
        "voxels": torch.cat([row["voxels"] for row in rows]),
        "volume_counts": torch.tensor([len(row["voxels"]) for row in rows]),
        "ids": padded("ids", pad),
        "labels": padded("labels", IGNORED),
        "attention_mask": mask("ids"),
        "question_ids": padded("question_ids", pad),
        "question_mask": mask("question_ids"),
        **{name: [row[name] for row in rows] for name in ("sample_id", "question", "answer", "task")},
    }
