"""The feed on datasets of one study, in voxels of u8, i16 and f32: python test_feed.py DATASET DATASET DATASET

What it feeds is compared with what the package `med2e3` reads by pyarrow, in the order that `pipeline/feed/tests/golden/order.py`
computes from the order's description: neither shares code with the feed.
"""

import contextlib
import fcntl
import gc
import importlib.util
import io
import json
import math
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
import warnings

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from torchdata.stateful_dataloader import Stateful, StatefulDataLoader

import med2e3
import med2e3_feed
from med2e3_feed import Feed, FeedError

DATASETS = sys.argv[1:]
ARRAYS = ["voxels", "ids", "labels", "lengths", "volume_of", "questions", "question_lengths", "weights"]
TASKS = ["caption", "open_vqa", "closed_vqa"]


def golden():
    path = pathlib.Path(__file__).parents[3] / "pipeline/feed/tests/golden/order.py"
    spec = importlib.util.spec_from_file_location("order", path)
    module = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(module)
    return module


class Reference:
    """The samples of a split and of tasks, sorted by id, and the batches that they make."""

    def __init__(self, path, tasks=TASKS, split="train", seed=5):
        self.dataset = med2e3.open(path)
        rows = [row for row in self.dataset.samples if row["split"] == split and row["task"] in tasks]
        self.rows = sorted(rows, key=lambda row: row["sample_id"])
        self.seed = seed

    def order(self, feed, order, epochs):
        """Places in `rows`, position by position."""
        golden_order.SELECTION, golden_order.SEED = bytes.fromhex(feed.state_dict()["selection"]), self.seed
        count = len(self.rows)
        if order == "by_id":
            return list(range(count)) * epochs
        if order == "shuffled":
            return golden_order.shuffled(count, range(epochs * count))
        ((name, value),) = order.items()
        if name == "group_by_volume":
            volumes = sorted({row["volume_ids"][0] for row in self.rows})
            golden_order.volume = lambda sample: volumes.index(self.rows[sample]["volume_ids"][0])
            return golden_order.grouped(count, value, epochs)
        if name == "length_buckets":
            golden_order.length = lambda sample: len(self.rows[sample]["ids"])
            return golden_order.buckets(count, value["window"], value["unit"], epochs)
        golden_order.task = lambda sample: TASKS.index(self.rows[sample]["task"])
        weights = lambda stated: [round(stated.get(task, 0) * 10**9) for task in TASKS]
        segments = [(0, weights(value))] + [(change["from"], weights(change)) for change in value.get("then", [])]
        return golden_order.mix(count, segments, range(epochs * count))

    def batch(self, places, own, form="conversation"):
        """The arrays and ids of the part `own` of a step of `places`."""
        texts = [self.text(self.rows[place], form) for place in places]
        # Nothing predicts a text's first id.
        targets = sum(sum(label != -100 for label in labels[1:]) for _, labels in texts)
        texts, rows = texts[own], [self.rows[place] for place in places[own]]
        shown = [row["volume_ids"] for row in rows]
        volumes = list(dict.fromkeys(id for ids in shown for id in ids))
        codes = [self.dataset.volumes[id].codes() for id in volumes]
        kind, shape = np.dtype({"u8": "u1", "i16": "<i2", "f32": "<f4"}[self.dataset.volumes.format["code"]]), self.dataset.volumes.shape
        questions = [row["question_ids_llm"] for row in rows]
        return {
            "voxels": np.stack(codes) if codes else np.empty((0, *shape), kind),
            "ids": padded([ids for ids, _ in texts], 0),
            "labels": padded([labels for _, labels in texts], -100),
            "lengths": np.array([len(ids) for ids, _ in texts], np.int64),
            "volume_of": padded([[volumes.index(id) for id in ids] for ids in shown], -1),
            "questions": padded(questions, 0),
            "question_lengths": np.array([len(ids) for ids in questions], np.int64),
            "weights": np.full(len(rows), 1 / targets if targets else 0, np.float32),
            "sample_ids": [row["sample_id"] for row in rows],
            "volume_ids": volumes,
        }

    def text(self, row, form):
        ids = {
            "conversation": lambda: row["ids"],
            "pretrain": lambda: row["pretrain_ids"],
            "prompt": lambda: row["ids"][: row["target_spans"][0][0]],
        }[form]()
        inside = lambda at: any(start <= at < end for start, end in row["target_spans"])
        is_target = {"conversation": inside, "pretrain": lambda at: ids[at] != -201, "prompt": lambda at: False}[form]
        return ids, [id if is_target(at) else -100 for at, id in enumerate(ids)]


def padded(lists, padding):
    width = max(map(len, lists), default=0)
    return np.array([ids + [padding] * (width - len(ids)) for ids in lists], np.int64).reshape(len(lists), width)


def steps(samples, epochs, batch, tail):
    """Positions of each step, and the position behind it."""
    if tail == "straddle":
        found = [range(at, min(at + batch, samples * epochs)) for at in range(0, samples * epochs, batch)]
    else:
        epoch = [range(at, min(at + batch, samples)) for at in range(0, samples, batch)]
        epoch = [step for step in epoch if tail == "keep" or len(step) == batch]
        found = [range(e * samples + step.start, e * samples + step.stop) for e in range(epochs) for step in epoch]
    return list(zip(found, [step.start for step in found[1:]] + [samples * epochs]))


def part(count, unit, rank, ranks):
    """The part of a step that a rank takes."""
    units = math.ceil(count / unit)
    return slice(*(min(count, number * units // ranks * unit) for number in (rank, rank + 1)))


def said(call):
    try:
        call()
    except FeedError as error:
        return str(error)
    return "no FeedError was raised"


def gist(batch):
    """A copy of what a batch says."""
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


class Fed(unittest.TestCase):
    def assert_same(self, batch, expected):
        for name, value in expected.items():
            if name in ARRAYS:
                found = batch[name].numpy()
                self.assertEqual((found.dtype, found.shape), (value.dtype, value.shape), name)
                np.testing.assert_array_equal(found, value, name)
            else:
                self.assertEqual(batch[name], value, name)

    def assert_equal_batches(self, found, expected):
        self.assertEqual(len(found), len(expected))
        for one, other in zip(found, expected):
            self.assertEqual(one.keys(), other.keys())
            for name, value in one.items():
                same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
                self.assertTrue(same, name)

    def feed(self, path=None, **arguments):
        feed = Feed(path or DATASETS[0], **{"batch_size": 4, "seed": 5, **arguments})
        self.addCleanup(feed.close)
        return feed

    def test_what_is_fed_is_what_the_dataset_holds_in_every_order(self):
        weights = {"caption": 0.5, "open_vqa": 0.25, "closed_vqa": 0.25}
        orders = [
            "shuffled",
            "by_id",
            {"group_by_volume": 2},
            {"length_buckets": {"window": 16, "unit": 2}},
            {"mix": weights},
            {"mix": {**weights, "then": [{"from": 1000, "caption": 0.1, "open_vqa": 0.8, "closed_vqa": 0.1}]}},
        ]
        for number, order in enumerate(orders):
            for tail, ranks in (("keep", 1), ("drop", 2), ("straddle", 3)):
                path = DATASETS[(number + ranks) % 3]
                epochs = 25 if number == 5 and ranks == 3 else 2
                reference = Reference(path)
                feeds = [
                    self.feed(path, order=order, epochs=epochs, tail=tail, batch_size=6, rank=rank, world_size=ranks)
                    for rank in range(ranks)
                ]
                expected = steps(len(reference.rows), epochs, 6, tail)
                places = reference.order(feeds[0], order, epochs)
                unit = 2 if number == 2 else 1
                self.assertEqual([len(feed) for feed in feeds], [len(expected)] * ranks)
                batches = zip(*feeds, strict=True)
                for (step, after), shares in zip(expected, batches, strict=True):
                    step = [places[position] for position in step]
                    for rank, batch in enumerate(shares):
                        self.assert_same(batch, reference.batch(step, part(len(step), unit, rank, ranks)))
                        self.assertEqual(batch["position"], after)
                    union = [id for batch in shares for id in batch["sample_ids"]]
                    self.assertEqual(union, [reference.rows[place]["sample_id"] for place in step])
                    # Or the last shares of a step would be held while the next ones are made.
                    del shares, batch
                self.assertEqual(feeds[0].position, len(reference.rows) * epochs)

    def test_forms_tasks_and_subsets(self):
        for form, tasks in (("pretrain", ["caption"]), ("prompt", ["open_vqa", "closed_vqa"]), ("conversation", ["open_vqa"])):
            reference = Reference(DATASETS[1], tasks)
            feed = self.feed(DATASETS[1], form=form, tasks=tasks, order="by_id")
            self.assertEqual(feed.samples, len(reference.rows))
            voxels = reference.dataset.volumes.format
            for (step, _), batch in zip(steps(feed.samples, 1, 4, "keep"), feed, strict=True):
                self.assert_same(batch, reference.batch(list(step), slice(None), form))
                self.assertEqual(batch["share"]["targets"], int((batch["labels"] != -100).sum()))
                self.assertEqual(batch["share"]["targetless_groups"], [0] if form == "prompt" else [])
                self.assertAlmostEqual(batch["scale"], voxels["scale"], places=6)
                self.assertAlmostEqual(batch["offset"], voxels["offset"], places=3)

    def test_tensors_are_in_the_feeds_own_memory(self):
        for path in DATASETS:
            feed = self.feed(path, epochs=4, tail="straddle")
            blocks = dict(feed.blocks())
            # Two that are made ahead and two that are held, of eight arrays each.
            self.assertEqual(len(blocks), 4 * 8)
            seen = set()
            for batch in feed:
                for name in ARRAYS:
                    tensor = batch[name]
                    self.assertIn(tensor.data_ptr(), blocks)
                    self.assertLessEqual(tensor.nbytes, blocks[tensor.data_ptr()])
                    self.assertTrue(tensor.is_contiguous() and tensor.data_ptr() % 4096 == 0)
                    seen.add(tensor.data_ptr())
                del tensor
            self.assertEqual(feed.blocks(), list(blocks.items()))
            self.assertGreater(len(seen), 8)
            # What is written to a tensor is in the memory, and gone when the feed fills it again.
            feed = self.feed(path)
            next(feed)["voxels"].zero_()

    def test_arrays_by_numpy_and_by_either_form_of_dlpack(self):
        expected = [gist(batch) for batch in self.feed()]
        for number, batch in enumerate(self.feed(tensors="numpy")):
            for name in ARRAYS:
                np.testing.assert_array_equal(batch[name], expected[number][name].numpy())
        for number, batch in enumerate(self.feed(tensors="dlpack")):
            for name in ARRAYS:
                array, wanted = batch[name], expected[number][name]
                self.assertEqual((array.shape, f"torch.{array.dtype}"), (tuple(wanted.shape), str(wanted.dtype)))
                self.assertEqual(array.__dlpack_device__(), (1, 0))
                self.assertIn('"dltensor"', repr(array.__dlpack__()))
                self.assertIn('"dltensor"', repr(array.__dlpack__(max_version=(0, 8))))
                versioned = array.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=False)
                self.assertIn('"dltensor_versioned"', repr(versioned))
                for made in (array.__dlpack__(), versioned, array):
                    self.assertTrue(torch.equal(torch.from_dlpack(made), wanted))
                for refused in ({"copy": True}, {"dl_device": (2, 0)}, {"stream": 1}):
                    with self.assertRaises(BufferError):
                        array.__dlpack__(**refused)
            self.assertIn("Tensor(voxels, uint8, [", repr(batch["voxels"]))

    def test_a_batch_comes_back_when_its_last_tensor_is_gone(self):
        feed = self.feed(epochs=50)
        kept = next(feed)["labels"]
        wanted = kept.clone()
        view = kept[0].view(-1)[:2]
        first = view.data_ptr()
        del kept
        for _ in range(40):
            batch = next(feed)
            self.assertNotEqual(batch["labels"].data_ptr(), first)
        self.assertTrue(torch.equal(view, wanted.view(-1)[:2]))
        del view, batch
        gc.collect()
        self.assertIn(first, {next(feed)["labels"].data_ptr() for _ in range(8)})
        # It may outlive the feed, and a thread without Python may drop it.
        batch = next(feed)
        wanted = batch["ids"].clone()
        feed.close()
        del feed
        self.assertTrue(torch.equal(batch["ids"], wanted))

    def test_who_keeps_all_batches_is_told_and_can_go_on(self):
        feed = self.feed(epochs=3)
        kept = []
        text = said(lambda: kept.extend(iter(lambda: next(feed)["weights"], None)))
        self.assertEqual(len(kept), 4)
        self.assertIn("all 4 of the feed are held: drop one, or copy what is to stay", text)
        self.assertEqual(said(lambda: next(feed)), text)
        position = feed.position
        del kept[0]
        self.assertEqual(next(feed)["position"], position + 4)

    def test_a_share_without_texts_is_empty_tensors(self):
        reference = Reference(DATASETS[0])
        rows = len(reference.rows)
        size = next(size for size in range(8, 20) if rows % size in (1, 2))
        feeds = [self.feed(batch_size=size, rank=rank, world_size=8, order="by_id") for rank in range(8)]
        last = [list(map(gist, feed))[-1] for feed in feeds]
        empty = [batch for batch in last if not batch["sample_ids"]]
        self.assertEqual(len(empty), 8 - rows % size)
        step = list(range(rows - rows % size, rows))
        for batch in empty:
            self.assert_same(batch, reference.batch(step, slice(0, 0)))
            self.assertEqual((batch["voxels"].shape, batch["position"]), ((0, 4, 16, 16), rows))
        for arrays in self.feed(batch_size=size, rank=0, world_size=8, order="by_id", tensors="numpy"):
            pass
        self.assertEqual((arrays["voxels"].shape, arrays["ids"].shape), ((0, 4, 16, 16), (0, 0)))

    def test_states_go_on_from_every_batch(self):
        for tail in ("keep", "drop", "straddle"):
            arguments = {"epochs": 2, "tail": tail, "order": {"group_by_volume": 2}}
            feed = self.feed(**arguments)
            states, batches = [feed.state_dict()], []
            for batch in feed:
                batches.append(gist(batch))
                states.append(feed.state_dict())
                self.assertEqual(states[-1]["position"], batch["position"])
            self.assertEqual((states[0]["position"], states[-1]["position"]), (0, 2 * feed.samples))
            self.assertLessEqual(len(json.dumps(states[-1])), 512)
            again = self.feed(**arguments, readers=4, depth=1)
            for number, state in enumerate(states):
                again.load_state_dict(pickle.loads(pickle.dumps(json.loads(json.dumps(state)))))
                self.assertEqual(again.state_dict(), state)
                self.assert_equal_batches([gist(batch) for batch in again], batches[number:])
                self.assertEqual(again.state_dict(), states[-1])
        # With another batch size and other ranks the samples go on.
        feed = self.feed(epochs=2)
        [next(feed) for _ in range(3)]
        ids = [id for batch in map(gist, feed) for id in batch["sample_ids"]]
        others = [self.feed(epochs=2, batch_size=5, rank=rank, world_size=2) for rank in range(2)]
        first = self.feed(epochs=2)
        [next(first) for _ in range(3)]
        [other.load_state_dict(first.state_dict()) for other in others]
        self.assertEqual([id for pair in zip(*others, strict=True) for batch in pair for id in batch["sample_ids"]], ids)

    def test_states_of_something_else_are_refused(self):
        feed = self.feed(epochs=2)
        next(feed)
        state = feed.state_dict()
        self.assertIn("the seed: expected 6", said(lambda: self.feed(seed=6).load_state_dict(state)))
        self.assertIn("the order: expected", said(lambda: self.feed(order="by_id").load_state_dict(state)))
        self.assertIn("the tail: expected", said(lambda: self.feed(tail="drop").load_state_dict(state)))
        self.assertIn("the selection: expected", said(lambda: self.feed(tasks=["caption"]).load_state_dict(state)))
        behind = {**state, "position": 10**6}
        self.assertIn("the cursor's position: expected at most", said(lambda: feed.load_state_dict(behind)))
        self.assertIn("format 2, found one of format 3", said(lambda: feed.load_state_dict({**state, "format": 3})))
        self.assertIn("at most 512 bytes", said(lambda: feed.load_state_dict({**state, "more": "x" * 600})))
        self.assertIn("states no format", said(lambda: feed.load_state_dict({})))
        # A state that was refused changes nothing.
        self.assertEqual((feed.state_dict(), next(feed)["position"]), (state, 8))

    def test_a_loop_goes_on_where_it_stood_and_an_epoch_ends(self):
        feed = self.feed(epochs=3)
        whole = [gist(batch) for batch in feed]
        text = "found that all 3 epochs were fed: make it with more epochs, or load a state"
        for again in (lambda: list(feed), feed.epoch):
            self.assertIn(text, said(again))
        self.assertIsNone(next(feed, None))
        feed = self.feed(epochs=3)
        parts = []
        for batch in feed:
            parts.append(gist(batch))
            if len(parts) == 2:
                break
        for epoch in range(3):
            self.assertEqual(feed.position // feed.samples, epoch)
            parts += map(gist, feed.epoch())
            self.assertEqual(feed.position, (epoch + 1) * feed.samples)
        self.assert_equal_batches(parts, whole)
        self.assertIn(text, said(feed.epoch))
        # What was loaded at the end is over, without a word.
        end = self.feed(epochs=3)
        end.load_state_dict(feed.state_dict())
        self.assertEqual((list(end), list(end.epoch()), list(end)), ([], [], []))
        # Closed in between, it starts its threads again.
        feed = self.feed(epochs=3)
        parts = []
        while batch := next(feed, None):
            parts.append(gist(batch))
            feed.close()
        self.assert_equal_batches(parts, whole)

    def test_torchdatas_loader_and_torchs(self):
        self.assertIsInstance(self.feed(), IterableDataset)
        self.assertIsInstance(self.feed(), Stateful)
        loader = lambda epochs=2: StatefulDataLoader(self.feed(epochs=epochs), batch_size=None, num_workers=0)
        whole = [gist(batch) for batch in self.feed(epochs=2)]
        one = loader()
        states, found = [one.state_dict()], []
        for batch in one:
            found.append(gist(batch))
            states.append(one.state_dict())
        self.assert_equal_batches(found, whole)
        states.append(one.state_dict())
        for number, state in enumerate(states):
            again = loader()
            again.load_state_dict(pickle.loads(pickle.dumps(state)))
            self.assert_equal_batches([gist(batch) for batch in again], whole[number:])
        plain = DataLoader(self.feed(epochs=2), batch_size=None, num_workers=0)
        self.assertEqual(len(plain), len(whole))
        self.assert_equal_batches([gist(batch) for batch in plain], whole)
        # A worker is a fork, or would need the feed pickled.
        for method, error in (("fork", (FeedError, RuntimeError)), ("spawn", TypeError)):
            with self.assertRaises(error) as raised, warnings.catch_warnings(action="ignore"):
                list(DataLoader(self.feed(), batch_size=None, num_workers=1, multiprocessing_context=method))
            self.assertIn("num_workers=0" if method == "fork" else "pickle", str(raised.exception))

    def test_ranks_come_from_the_environment(self):
        def fed(**arguments):
            feed = self.feed(**arguments)
            return feed.rank, feed.world_size

        with_environment = lambda **names: unittest.mock.patch.dict(os.environ, names)
        self.assertEqual(fed(), (0, 1))
        with with_environment(RANK="1", WORLD_SIZE="3"):
            self.assertEqual((fed(), fed(rank=0, world_size=2)), ((1, 3), (0, 2)))
        with with_environment(RANK="1"):
            self.assertIn("WORLD_SIZE: expected a number beside RANK, found RANK=1 alone", said(fed))
        with with_environment(WORLD_SIZE="4"):
            self.assertIn("RANK: expected a number beside WORLD_SIZE", said(fed))
        with with_environment(RANK="one", WORLD_SIZE="4"):
            self.assertIn("RANK: expected a number in the environment, found one", said(fed))
        self.assertIn("world_size: expected a number beside rank", said(lambda: fed(rank=1)))
        self.assertIn("rank: expected a number beside world_size", said(lambda: fed(world_size=2)))
        self.assertIn("the rank: expected 0 to below 2", said(lambda: fed(rank=2, world_size=2)))

    def test_arguments_that_fit_nothing_are_named(self):
        for arguments, text in (
            ({"split": "trained"}, "split: expected one of train, validation, test, found `trained`"),
            ({"tasks": ["captions"]}, "task: expected one of caption, open_vqa, closed_vqa, found `captions`"),
            ({"tasks": []}, "no sample"),
            ({"subset": "none"}, "none"),
            ({"form": "chat"}, "form: expected conversation, pretrain or prompt, found chat"),
            ({"question": "gpt"}, "question: expected llm or bert, found gpt"),
            ({"tail": "cut"}, "tail: expected keep, drop or straddle, found cut"),
            ({"on_bad_sample": "ignore"}, "on_bad_sample: expected fail or skip, found ignore"),
            ({"tensors": "jax"}, "tensors: expected torch, numpy or dlpack, found jax"),
            ({"order": "random"}, 'order: expected "shuffled", "by_id", {"group_by_volume": TEXTS}'),
            ({"order": {"group_by_volume": 3}}, "divide the batch of 4"),
            ({"order": {"group_by_volume": 0}}, "0"),
            ({"order": {"group_by_volume": 2, "mix": {}}}, "order: expected"),
            ({"order": {"mix": {"caption": 1}}}, "the mix: expected a weight of"),
            ({"order": {"mix": {"caption": -1.0}}}, "found -1"),
            ({"order": {"mix": {"caption": float("nan")}}}, "NaN"),
            ({"order": {"mix": {"caption": 0, "open_vqa": 0}}}, "sum to more than 0"),
            ({"order": {"mix": {"captions": 1}}}, "captions"),
            ({"batch_size": 0}, "batch_size: expected 1 to 16777216, found 0"),
            ({"batch_size": 1, "rank": 0, "world_size": 2}, "the batch: expected 2 or more, one sample a rank"),
            ({"batch_size": 10**6, "tail": "drop"}, "the batch: expected at most"),
            ({"batch_size": 2**60, "epochs": 2**50, "tail": "straddle"}, "batch_size: expected 1 to 16777216"),
            ({"epochs": 0}, "epochs: expected 1 or more"),
            ({"epochs": 2**63}, "epochs: expected at most"),
            ({"readers": 0}, "readers: expected 1 to 1024, found 0"),
            ({"depth": 0}, "depth: expected 1 to 1024, found 0"),
            ({"readers": 2**60}, "readers: expected 1 to 1024"),
            ({"depth": 2**60}, "depth: expected 1 to 1024"),
            ({"path": "/nowhere"}, "/nowhere"),
        ):
            with self.subTest(arguments):
                self.assertIn(text, said(lambda: self.feed(**arguments)))
        for arguments in ({"seed": -1}, {"batch_size": -1}, {"batch_size": "4"}, {"readers": 1.5}, {"order": object()}):
            with self.assertRaises((TypeError, OverflowError)):
                self.feed(**arguments)
        with self.assertRaises(TypeError):
            Feed(DATASETS[0])
        self.assertIn("no question in a text encoder's tokens", said(lambda: next(self.feed(question="bert"))))

    def test_a_volume_that_does_not_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copytree(DATASETS[2], f"{folder}/flipped")
            ids = sorted(med2e3.open(path).volumes.ids)
            shard = next(iter(sorted(pathlib.Path(path).glob("volumes/*.parquet"))))
            bad = med2e3.open(DATASETS[2]).volumes[0]
            cells = shard.read_bytes()
            at = cells.index(bad.codes().tobytes()) + 77
            shard.write_bytes(cells[:at] + bytes([cells[at] ^ 4]) + cells[at + 1 :])
            reference = Reference(DATASETS[2])
            shows = [row["sample_id"] for row in reference.rows if bad.id in row["volume_ids"]]
            # An error each for the batches that show it, and the others come.
            feed, found, errors = self.feed(path, order="by_id"), [], []
            while True:
                try:
                    batch = next(feed, None)
                except FeedError as error:
                    errors.append(str(error))
                    continue
                if batch is None:
                    break
                found += batch["sample_ids"]
            self.assertTrue(errors and all(bad.id in text and shard.name in text for text in errors), errors)
            self.assertFalse(set(found) & set(shows))
            # Skipped, each is told.
            found, told = [], []
            for batch in self.feed(path, order="by_id", on_bad_sample="skip"):
                found += batch["sample_ids"]
                told += batch["bad"]
                self.assertEqual(len(batch["ids"]), len(batch["sample_ids"]))
            self.assertEqual([(entry["sample"], entry["volume"], entry["row"]) for entry in told], [(id, bad.id, 0) for id in shows])
            self.assertTrue(all(entry["reason"] and shard.name in entry["shard"] for entry in told))
            self.assertEqual(found, [row["sample_id"] for row in reference.rows if row["sample_id"] not in shows])
            self.assertIn(bad.id, ids)
            # A shard that is gone is no bad sample.
            os.unlink(shard)
            self.assertIn(shard.name, said(lambda: list(self.feed(path, on_bad_sample="skip"))))

    def test_a_fork_is_told_and_neither_hangs_nor_ends_the_parents_feed(self):
        feed = self.feed(epochs=3)
        batch = next(feed)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                texts = [said(call) for call in (lambda: next(feed), lambda: iter(feed), feed.close, feed.state_dict, feed.epoch, feed.blocks)]
                del batch, feed
                gc.collect()
                os.write(writing, texts[0].encode() if len(set(texts)) == 1 else b"other texts")
            finally:
                os._exit(0)
        os.close(writing)
        self.assertEqual(os.waitpid(child, 0), (child, 0))
        text = os.read(reading, 1000).decode()
        os.close(reading)
        self.assertIn(f"the feed: expected process {os.getpid()}, which made it, found process {child}", text)
        self.assertEqual(next(feed)["position"], batch["position"] + 4)

    def test_threads_run_while_one_waits_and_a_second_at_the_feed_is_told(self):
        feed = self.feed(epochs=10**5, batch_size=600_000, tail="straddle", readers=1, depth=1, tensors="dlpack")
        steps, done = [], []
        waiting = threading.Thread(target=lambda: done.append(next(feed)["position"]))
        waiting.start()
        while not steps or (waiting.is_alive() and len(steps) < 20):
            time.sleep(0.002)
            steps.append(feed.position)
            if waiting.is_alive():
                text = said(feed.blocks) if len(steps) == 5 else ""
                self.assertTrue(len(steps) != 5 or "another one that is at it" in text)
                self.assertEqual(feed.state_dict()["position"], feed.position)
        waiting.join()
        self.assertEqual((done, len(steps)), ([600_000], 20))

    def run_python(self, text, *arguments):
        return subprocess.Popen(
            [sys.executable, "-c", text, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def test_ctrl_c_is_heard_while_it_waits(self):
        # A batch of so many texts takes long to lay out.
        waits = """
import signal, sys, time
from med2e3_feed import Feed
# Who starts tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
path, is_open = sys.argv[1:]
arguments = {"batch_size": 600_000, "epochs": 10**6, "tail": "straddle", "tensors": "dlpack", "depth": 1}
if is_open:
    feed = Feed(path, **arguments)
print("waiting", flush=True)
try:
    next(feed) if is_open else Feed(path, **arguments)
    print("no wait")
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""
        # A dataset whose `feed/` is to be made, whose lock another process has, does not open.
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        shut = shutil.copytree(DATASETS[0], f"{temporary.name}/shut")
        for file in pathlib.Path(shut, "feed").iterdir():
            file.unlink()
        lock = os.open(shut, os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path, is_open in ((DATASETS[0], "yes"), (shut, "")):
            self.assert_heard(waits, path, is_open)
        fcntl.flock(lock, fcntl.LOCK_UN)
        self.assertEqual(len(self.feed(shut)), len(self.feed()))

    def assert_heard(self, text, *arguments):
        taken = []
        for _ in range(3):
            process = self.run_python(text, *arguments)
            self.assertEqual(process.stdout.readline(), "waiting\n")
            time.sleep(0.1)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            at = process.stdout.readline()
            heard = time.monotonic()
            out, error = process.communicate(timeout=60)
            ended = time.monotonic() - heard
            self.assertEqual((process.returncode, error), (0, ""), at)
            taken.append((float(at) - sent, ended))
        self.assertLess(min(heard for heard, _ in taken), 0.2, taken)
        # And the interpreter ends although the feed still works.
        self.assertLess(min(ended for _, ended in taken), 1.0, taken)

    def test_an_interpreter_ends_although_the_feed_was_not_closed(self):
        ends = """
import sys
from med2e3_feed import Feed
feed = Feed(sys.argv[1], batch_size=2, epochs=10**6, readers=4, depth=4, tensors="dlpack")
kept = [next(feed)]
loop = iter(feed)
{}
"""
        waits = """
import threading, time
long = Feed(sys.argv[1], batch_size=600_000, epochs=10**6, tail="straddle", tensors="dlpack")
threading.Thread(target=lambda: next(long), daemon=True).start()
time.sleep(0.2)
"""
        other = "import threading; threading.Thread(target=lambda: next(loop)).start()"
        for last in ("", "del feed, loop", "sys.exit(0)", other, waits):
            process = self.run_python(ends.format(last), DATASETS[0])
            self.assertEqual(process.communicate(timeout=60), ("", ""), last)
            self.assertEqual(process.returncode, 0, last)

    def test_a_dropped_feed_takes_its_threads_along(self):
        def feeding():
            """Threads of feeds."""
            count = 0
            for task in pathlib.Path("/proc/self/task").iterdir():
                # It may end while it is looked at.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    count += (task / "comm").read_text().startswith("feed-")
            return count

        def become(count):
            """A thread begins without its name and ends a little after it was told to."""
            until = time.monotonic() + 10
            while feeding() != count and time.monotonic() < until:
                time.sleep(0.01)
            self.assertEqual(feeding(), count)

        gc.collect()
        become(0)
        feed = self.feed(epochs=1000, readers=3)
        self.assertEqual(feeding(), 0)
        next(feed)
        become(4)
        feed.close()
        self.assertEqual(feeding(), 0)
        for drop in (lambda feed: None, lambda feed: feed.load_state_dict(feed.state_dict())):
            feed = Feed(DATASETS[0], batch_size=4, readers=3, epochs=1000)
            next(feed)
            drop(feed)
            del feed
            become(0)

    def test_the_module_says_what_it_is(self):
        self.assertTrue(med2e3_feed.__doc__ and med2e3_feed.__version__)
        for thing in (Feed, FeedError, med2e3_feed.Tensor, med2e3_feed.Epoch):
            self.assertEqual(thing.__module__, "med2e3_feed")
            self.assertTrue(thing.__doc__, thing)
        folder = pathlib.Path(med2e3_feed.__file__).parent
        self.assertTrue((folder / "py.typed").exists())
        stubs = (folder / "__init__.pyi").read_text()
        for thing in (Feed, med2e3_feed.Tensor):
            for name, member in vars(thing).items():
                if not name.startswith("__") or name in ("__dlpack__", "__dlpack_device__", "__len__"):
                    self.assertIn(f"def {name}(", stubs)
                    self.assertTrue(member.__doc__, name)
        self.assertIn("samples, 1 epochs, at position 0)", repr(self.feed()))


if __name__ == "__main__":
    golden_order = golden()

    unittest.main(argv=sys.argv[:1])
