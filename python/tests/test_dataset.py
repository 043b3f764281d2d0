"""The package on small datasets that these tests write with pyarrow: python test_dataset.py"""

import json
import os
import pathlib
import pickle
import tempfile
import unittest

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader

import med2e3
from med2e3 import DatasetError

SHAPE = [2, 3, 4]
KINDS = {"u8": "u1", "i16": "<i2", "f32": "<f4"}


def id_of(number):
    return bytes([number]) * 16


def codes_of(number, code="u8"):
    return ((np.arange(24) * 7 + number) % 256).astype(KINDS[code]).reshape(SHAPE)


def write(folder, code="u8", scale=None, offset=0.0, recipe="m3d", hu=None, rows=5, known=True):
    """A dataset of some volumes in two row groups, and twice as many texts."""
    folder = pathlib.Path(folder)
    (folder / "volumes").mkdir(parents=True)
    (folder / "samples").mkdir()
    (folder / "subsets").mkdir()
    metadata = {"hu_scale": str(hu[0]), "hu_offset": str(hu[1])} if hu else None
    width = 24 * np.dtype(KINDS[code]).itemsize
    schema = pa.schema([
        pa.field("volume_id", pa.binary(16)),
        pa.field("voxels", pa.binary(width), metadata=metadata),
        pa.field("plane", pa.string()),
        pa.field("hu_known", pa.bool_()),
        pa.field("value_min", pa.float32()),
        pa.field("value_max", pa.float32()),
    ])
    table = pa.table([
        [id_of(n) for n in range(rows)], [codes_of(n, code).tobytes() for n in range(rows)], ["axial"] * rows,
        [known] * rows, [-1000.0] * rows, [1000.0 + n for n in range(rows)],
    ], schema)
    pq.write_table(table, folder / "volumes/00000.parquet", row_group_size=2)
    texts = []
    for n in range(2 * rows):
        ids = [1, -201, 3] + [4] * n + [7, 0]
        texts.append({
            "sample_id": id_of(100 + n), "volume_ids": [id_of(n % rows)], "task": "open_vqa", "topic": 1,
            "split": "train" if n % 2 else "test", "case_id": str(n), "question": f"Which {n}?", "answer": "axial", "choices": None,
            "answer_choice": None, "ids": ids, "target_spans": [{"start": len(ids) - 2, "end": len(ids)}], "pretrain_ids": None,
            "question_ids_llm": [5] * (1 + n), "question_ids_bert": None, "truncated": False,
        })
    fields = [("sample_id", pa.binary(16)), ("volume_ids", pa.list_(pa.binary(16)))]
    fields += [("ids", pa.list_(pa.int32())), ("target_spans", pa.list_(pa.struct([("start", pa.uint32()), ("end", pa.uint32())])))]
    inferred = pa.Table.from_pylist(texts).schema
    for name, kind in fields:
        inferred = inferred.set(inferred.get_field_index(name), pa.field(name, kind))
    pq.write_table(pa.Table.from_pylist(texts, inferred), folder / "samples/00000.parquet", row_group_size=3)
    pq.write_table(pa.table({"sample_id": pa.array([id_of(101), id_of(102)], pa.binary(16))}), folder / "subsets/two.parquet")
    pq.write_table(pa.table({"path": ["a.nii"], "reason": ["all_zero"]}), folder / "quarantine.parquet")
    scale = {"u8": 1 / 255, "i16": 1 / 32767, "f32": 1.0}[code] if scale is None else scale
    voxels = {"shape_dhw": SHAPE, "code": code, "scale": scale, "offset": offset}
    shard = lambda name, rows: {"path": name, "rows": rows, "bytes": 0, "row_groups_xxh3": [], "rest_xxh3": ""}
    index = {
        "schema_version": med2e3.SCHEMA_VERSION, "voxels": voxels, "inputs": {"volume": {"recipe": recipe}, "text": None},
        "tokenizer": None, "end_token": 9, "volumes": [shard("volumes/00000.parquet", rows)],
        "samples": [shard("samples/00000.parquet", 2 * rows)], "counts": {"train": {"open_vqa": rows}, "test": {"open_vqa": rows}},
        "files": {"quarantine.parquet": {}, "subsets/two.parquet": {}, "prepare.toml": {}},
    }
    (folder / "dataset.json").write_text(json.dumps(index))
    return folder


class Opened(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)

    def changed(self, **values):
        folder = write(self.root / f"changed{len(os.listdir(self.root))}")
        index = json.loads((folder / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps({**index, **values}))
        return folder

    def said(self, call):
        with self.assertRaises(DatasetError) as raised:
            call()
        return str(raised.exception)

    def test_volumes_by_number_and_id(self):
        ds = med2e3.open(write(self.root / "a"))
        self.assertEqual((len(ds.volumes), ds.volumes.shape, ds.volumes.ids[2]), (5, (2, 3, 4), id_of(2).hex()))
        for number in (4, 0, 3, -2):
            volume = ds.volumes[number]
            np.testing.assert_array_equal(volume.codes(), codes_of(number % 5))
            np.testing.assert_allclose(volume.values(), codes_of(number % 5) / 255, atol=1e-7)
            self.assertEqual(ds.volumes[volume.id].number, number % 5)
            self.assertEqual(ds.volumes[id_of(number % 5)].id, volume.id)
        self.assertEqual(ds.volumes[0].values().dtype, np.float32)
        self.assertEqual(dict(ds.volumes[1])["plane"], "axial")
        self.assertNotIn("voxels", ds.volumes[1])
        self.assertEqual([volume.number for volume in ds.volumes], list(range(5)))
        for missing in (5, -6):
            with self.assertRaises(IndexError):
                ds.volumes[missing]
        with self.assertRaisesRegex(KeyError, "set aside"):
            ds.volumes["ff" * 16]
        with self.assertRaisesRegex(KeyError, "the columns are volume_id, plane"):
            ds.volumes[0]["spacing"]

    def test_hounsfield_units_by_recipe(self):
        by_row = med2e3.open(write(self.root / "row")).volumes[3]
        np.testing.assert_allclose(by_row.hounsfield(), codes_of(3) / 255 * 2003 - 1000, atol=1e-3)
        window = {"ct": {"intensity": {"window": {"center": 40.0, "width": 510.0}}}}
        expected = codes_of(1) * 2.0 - 215
        for name, hu in (("stated", (2.0, -215.0)), ("before", None)):
            volume = med2e3.open(write(self.root / name, recipe=window, hu=hu)).volumes[1]
            np.testing.assert_allclose(volume.hounsfield(), expected, atol=1e-3)
            self.assertEqual(volume.hounsfield().dtype, np.float32)
        none = {"ct": {"intensity": "none"}}
        for name, hu in (("units", (0.5, -4096.0)), ("units before", None)):
            ds = med2e3.open(write(self.root / name, code="i16", scale=0.5, offset=-4096.0, recipe=none, hu=hu))
            np.testing.assert_array_equal(ds.volumes[2].hounsfield(), codes_of(2, "i16") * 0.5 - 4096)
            np.testing.assert_array_equal(ds.volumes[2].values(), ds.volumes[2].hounsfield())
            self.assertIn('values="hu"', self.said(lambda: ds.torch(values="unit")))
            self.assertEqual(ds.torch(values="hu")[0]["voxels"].dtype, torch.float32)
        unknown = med2e3.open(write(self.root / "unknown", known=False))
        self.assertIn("hu_known", self.said(unknown.volumes[0].hounsfield))
        percentile = {"ct": {"intensity": {"percentile": {"low": 1, "high": 99}}}}
        lost = med2e3.open(write(self.root / "lost", recipe=percentile))
        self.assertIn("percentiles", self.said(lost.volumes[0].hounsfield))
        self.assertIn("does not keep", self.said(lambda: lost.torch(values="hu")))

    def test_texts_splits_subsets_and_rejects(self):
        ds = med2e3.open(write(self.root / "a"))
        self.assertEqual((len(ds.samples), ds.splits, ds.subsets), (10, ["test", "train"], ["two"]))
        self.assertEqual(ds.samples[7]["question"], "Which 7?")
        self.assertEqual(ds.samples[id_of(107)]["volume_ids"], [id_of(2).hex()])
        self.assertEqual(ds.samples[0]["target_spans"], [(3, 5)])
        self.assertEqual([row["case_id"] for row in ds.samples], [str(n) for n in range(10)])
        self.assertEqual(ds.subset("two"), [id_of(101).hex(), id_of(102).hex()])
        self.assertEqual((ds.numbers("train"), ds.numbers("train", "two")), ([1, 3, 5, 7, 9], [1]))
        self.assertEqual(ds.rejects, [{"path": "a.nii", "reason": "all_zero"}])
        self.assertIsNone(ds.tokenizer)
        self.assertIn("no split 'val'; there are test, train", self.said(lambda: ds.numbers("val")))
        self.assertIn("no subset 'three'; there are two", self.said(lambda: ds.subset("three")))

    def test_a_batch_is_padded_and_labels_are_the_targets(self):
        ds = med2e3.open(write(self.root / "a"))
        rows = ds.torch(split="train")
        batch = ds.collate([rows[0], rows[2]])
        self.assertEqual(tuple(batch["voxels"].shape), (2, 1, 2, 3, 4))
        np.testing.assert_allclose(batch["voxels"][1, 0], ds.volumes[0].values())
        self.assertEqual(batch["ids"].tolist()[0], [1, -201, 3, 4, 7, 0, 9, 9, 9, 9])
        self.assertEqual(batch["attention_mask"].sum(1).tolist(), [6, 10])
        self.assertEqual(batch["labels"].tolist()[0], [-100] * 4 + [7, 0] + [-100] * 4)
        self.assertEqual((batch["volume_counts"].tolist(), batch["question"]), ([1, 1], ["Which 1?", "Which 5?"]))
        self.assertEqual(batch["question_mask"].sum(1).tolist(), [2, 6])
        logits = torch.zeros(2, 10, 12)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
        self.assertAlmostEqual(loss.item(), float(np.log(12)), places=5)

    def test_workers_give_the_rows_that_one_process_gives(self):
        ds = med2e3.open(write(self.root / "a"))
        ds.volumes[0].codes()
        alone = [batch["ids"].tolist() for batch in DataLoader(ds.torch(), 2, collate_fn=ds.collate)]
        for method in ("fork", "spawn"):
            loader = DataLoader(ds.torch(), 2, collate_fn=ds.collate, num_workers=1, multiprocessing_context=method)
            self.assertEqual([batch["ids"].tolist() for batch in loader], alone, method)
        again = pickle.loads(pickle.dumps(ds))
        np.testing.assert_array_equal(again.volumes[4].codes(), codes_of(4))

    def test_other_folders_and_versions_are_refused(self):
        self.assertIn("no dataset.json", self.said(lambda: med2e3.open(self.root)))
        self.assertIn("take a newer med2e3", self.said(lambda: med2e3.open(self.changed(schema_version=3))))
        self.assertIn("found version 1", self.said(lambda: med2e3.open(self.changed(schema_version=1))))
        self.assertIn("schema_version", self.said(lambda: med2e3.open(self.changed_text("{}"))))
        self.assertIn("Expecting value", self.said(lambda: med2e3.open(self.changed_text("nothing"))))
        self.assertIn("u8, i16 or f32", self.said(lambda: med2e3.open(self.changed(voxels={"shape_dhw": SHAPE, "code": "u2"}))))
        for name in ("../secret", "/etc/hostname", "volumes/../../secret"):
            folder = self.changed(volumes=[{"path": name, "rows": 1}])
            self.assertIn("within the folder", self.said(lambda: med2e3.open(folder).volumes[0]))
        folder = self.changed()
        (folder / "volumes/00000.parquet").unlink()
        self.assertIn("No such file", self.said(lambda: med2e3.open(folder).volumes[0]))
        os.symlink("/etc/hostname", folder / "volumes/00000.parquet")
        self.assertIn("within the folder", self.said(lambda: med2e3.open(folder).volumes[0]))
        folder = self.changed()
        (folder / "volumes/00000.parquet").write_bytes(b"PAR1 no shard PAR1")
        self.assertIn("expected a shard", self.said(lambda: med2e3.open(folder).volumes[0]))
        shape = {"shape_dhw": [2, 3, 5], "code": "u8", "scale": 1 / 255, "offset": 0.0}
        folder = self.changed(voxels=shape)
        self.assertIn("expected 2x3x5 voxels", self.said(lambda: med2e3.open(folder).volumes[0].codes()))

    def changed_text(self, text):
        folder = self.changed()
        (folder / "dataset.json").write_text(text)
        return folder


if __name__ == "__main__":
    unittest.main()
