"""Feeding volumes next to its peers, in one run: `bench_feed.py MED2E3_DATA FOLDER [--volumes 200] [--rounds 3] [--seconds 1.5]`.

Makes phantom CTs in FOLDER (40 x 288 x 288, int16 NIfTI) with a report and four questions each, and prepares them by recipe m3d
to cells of 32 x 256 x 256 u8. The same cells lie there as a dataset of each codec, as a .npy of u8 and as a .npy of f32 (the
cells over 255, what M3D's own loader reads) a volume; that they are the same is compared. Then, from the system's cache, in
batches of 8, several rounds in turn, each peer in a process of its own whose imports and first batches are not counted:
  med2e3     `bench feed` of the program, for each codec
  torch      scales batches of u8 cells into a kept block of f32: what f32 batches on the CPU would cost med2e3 besides
  DALI       readers.numpy on the CPU, with texts of its volumes tokenized in the main process, and volumes alone
  M3D        torch's DataLoader over np.load and the texts, with the released augmentation by MONAI, and without it
Texts are tokenized as M3D does: 256 image tokens, a question, a blank, an answer, to 512 ids, and once more without the answer
for the labels; by Hugging Face's tokenizers and the dataset's own tokenizer. M3D has transformers around that, which is slower.

Alike: the values, the place (memory), batches of 8, mixed order, threads. Which of the texts comes with a volume is left to
chance, as it costs the same. DALI's main process comes in addition to its threads, as M3D's does to two workers; without workers
M3D's main process does all of it.
Not alike: med2e3 compares every cell with its hash and delivers u8, which training makes f32 on its device, and ids that were
made once when the dataset was prepared. The peers compare nothing, and tokenize at each delivery. Prints one table row for each loader and a JSON line. Needs monai, numpy,
nvidia-dali-cuda120, pyarrow, tokenizers, torch.
"""

import argparse
import csv
import datetime
import hashlib
import importlib.metadata
import json
import os
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]:
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from machine import processor  # noqa: E402
from phantom import phantom, write_nifti  # noqa: E402

CODECS = ["none", "lz4", "zstd1"]
THREADS = [1, 2]
BATCH = 8
SHAPE = (1, 32, 256, 256)
LENGTH = 512
IMAGE = "<im_patch>"
IMAGE_TOKENS = 256
PACKAGES = ["monai", "numpy", "nvidia-dali-cuda120", "tokenizers", "torch"]

# Batches before the clock starts: threads and workers run, modules are imported.
WARM_UP = 4

CAPTION = "Please caption this scan with findings."
PLACES = ["left upper lobe", "right lower lobe", "liver", "spleen", "left kidney", "pancreas", "aorta", "third lumbar vertebra"]
FINDINGS = ["a nodule with smooth margins", "a simple cyst", "no focal lesion", "a wedge-shaped defect of enhancement", "calcified plaques"]
QUESTIONS = ["Which organ is affected?", "What does the lesion look like?", "In which plane was this series taken?", "What is its largest diameter?"]


def write_texts(path, names):
    """A report and four questions for each volume, as a table."""
    random.seed(18)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "report", "question", "answer", "split"])
        for name in names:
            sentences = [f"The {random.choice(PLACES)} shows {random.choice(FINDINGS)} of {random.randrange(3, 60)} mm." for _ in range(6)]
            table.writerow([name, " ".join(sentences), "", "", "train"])
            for question in QUESTIONS:
                table.writerow([name, "", question, f"{random.choice(FINDINGS).capitalize()} in the {random.choice(PLACES)}.", "train"])


def read_cells(dataset):
    """All cells with the hash of each, in the order of the hashes."""
    index = json.loads((dataset / "dataset.json").read_text())
    found = []
    for shard in index["volumes"]:
        for cell in pq.read_table(dataset / shard["path"], columns=["voxels"])["voxels"]:
            cell = cell.as_py()
            found.append((hashlib.blake2b(cell).hexdigest(), cell))
    return sorted(found)


def make(program, folder, count):
    """The datasets and the .npy files, made where they are absent."""
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    names = [f"ct{number:04}.nii" for number in range(count)]
    for number, name in enumerate(names):
        if not (inputs / name).exists():
            write_nifti(inputs / name, phantom(40, 288, 100 + number))
    write_texts(inputs / "texts.csv", names)
    for codec in CODECS:
        command = [program, "prepare", inputs / "texts.csv", "--recipe", "m3d", "--voxels", "u8", "--out", folder / codec]
        command += ["--set", f"volume.codec={codec}", "--set", "text.tokenizer={train=8192}"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{codec}: {done.stderr}")
    cells = read_cells(folder / "none")
    hashes = [name for name, _ in cells]
    if len(cells) != count:
        sys.exit(f"{folder / 'none'}: {len(cells)} volumes instead of {count}; remove {folder}")
    for codec in CODECS[1:]:
        if [name for name, _ in read_cells(folder / codec)] != hashes:
            sys.exit(f"{folder / codec}: other cells than in {folder / 'none'}")
    for kind in ["u8", "f32"]:
        (folder / kind).mkdir(exist_ok=True)
    for number, (_, cell) in enumerate(cells):
        codes = np.frombuffer(cell, np.uint8).reshape(SHAPE)
        u8, f32 = (folder / kind / f"{number:04}.npy" for kind in ["u8", "f32"])
        if not f32.exists() or not u8.exists() or not np.array_equal(np.load(u8), codes):
            np.save(u8, codes)
            np.save(f32, codes.astype(np.float32) / 255)
    # Nothing is on its way to the disk while something is measured, and all of it is in the system's cache.
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file() and path.parent != inputs:
            path.read_bytes()


def volume_files(folder, kind, count):
    return [str(folder / kind / f"{number:04}.npy") for number in range(count)]


class Texts:
    """A volume's texts, tokenized as M3D's data sets do it: ids, mask and labels of 512."""

    def __init__(self, folder):
        from tokenizers import Tokenizer

        with (folder / "inputs/texts.csv").open(newline="") as file:
            rows = csv.DictReader(file)
            self.texts = [(row["question"] or CAPTION, row["answer"] or row["report"]) for row in rows]
        self.tokenizer = Tokenizer.from_file(str(folder / "none/tokenizer.json"))
        self.tokenizer.add_special_tokens([IMAGE, "<pad>", "</s>"])
        self.pad, self.end = (self.tokenizer.token_to_id(token) for token in ["<pad>", "</s>"])
        self.tokenizer.enable_truncation(LENGTH)
        self.tokenizer.enable_padding(length=LENGTH, pad_id=self.pad, pad_token="<pad>")

    def of_volume(self, number):
        import torch

        each = 1 + len(QUESTIONS)
        question, answer = self.texts[number * each + random.randrange(each)]
        question = IMAGE * IMAGE_TOKENS + " " + question
        whole = self.tokenizer.encode(question + " " + answer)
        ids, mask = torch.tensor(whole.ids), torch.tensor(whole.attention_mask)
        filled = int(mask.sum())
        if filled < LENGTH:
            ids[filled] = self.end
        labels = ids.clone()
        labels[: sum(self.tokenizer.encode(question).attention_mask)] = -100
        labels[ids == self.pad] = -100
        return ids, mask, labels


def m3d_batches(folder, count, threads, augmented):
    import monai.transforms as transforms
    import torch
    from monai.data import set_track_meta
    from torch.utils.data import DataLoader, Dataset, RandomSampler

    set_track_meta(False)
    turned = [transforms.RandRotate90(prob=0.5, spatial_axes=(1, 2))]
    flipped = [transforms.RandFlip(prob=0.1, spatial_axis=axis) for axis in range(3)]
    scaled = [transforms.RandScaleIntensity(factors=0.1, prob=0.5), transforms.RandShiftIntensity(offsets=0.1, prob=0.5)]
    augment = transforms.Compose(turned + flipped + scaled + [transforms.ToTensor(dtype=torch.float)])
    files, texts = volume_files(folder, "f32", count), Texts(folder)

    class Samples(Dataset):
        def __len__(self):
            return count

        def __getitem__(self, number):
            volume = np.load(files[number])
            volume = augment(volume) if augmented else torch.from_numpy(volume)
            return volume, *texts.of_volume(number)

    samples = Samples()
    sampler = RandomSampler(samples, num_samples=1000 * count)
    workers = {"num_workers": threads, "multiprocessing_context": "fork"} if threads > 1 else {}
    return iter(DataLoader(samples, BATCH, sampler=sampler, **workers))


def dali_batches(folder, count, threads, kind, with_texts):
    import torch
    from nvidia.dali import fn, pipeline_def

    files = volume_files(folder, kind, count)
    texts, numbers = Texts(folder), {path: number for number, path in enumerate(files)}

    @pipeline_def(batch_size=BATCH, num_threads=threads, device_id=None)
    def volumes():
        return fn.readers.numpy(device="cpu", files=files, shuffle_after_epoch=True, cache_header_information=True, name="volumes")

    pipeline = volumes()
    pipeline.build()
    while True:
        (batch,) = pipeline.run()
        volume = torch.from_dlpack(batch.as_tensor())
        if with_texts:
            rows = [texts.of_volume(numbers[batch[place].source_info()]) for place in range(BATCH)]
            yield volume, *(torch.stack(part) for part in zip(*rows))
        else:
            yield (volume,)


def f32_batches(folder, count, threads):
    import torch

    torch.set_num_threads(threads)
    cells = [np.load(path) for path in volume_files(folder, "u8", min(count, 8 * BATCH))]
    batches = [torch.from_numpy(np.stack(cells[at : at + BATCH])) for at in range(0, len(cells) - BATCH + 1, BATCH)]
    block = torch.empty((BATCH, *SHAPE))
    while True:
        for batch in batches:
            # Eight times as fast as one product of both kinds.
            yield (block.copy_(batch).mul_(1 / 255),)


SCALING = "u8 to f32, torch"
THEN_F32 = "uncompressed, then f32 by torch"

# What arrives, and how its batches are made.
PEERS = {
    SCALING: ("f32", f32_batches, {}),
    "DALI, f32 .npy": ("f32 and ids", dali_batches, {"kind": "f32", "with_texts": True}),
    "DALI, f32 .npy, volumes alone": ("f32", dali_batches, {"kind": "f32", "with_texts": False}),
    "DALI, u8 .npy": ("u8 and ids", dali_batches, {"kind": "u8", "with_texts": True}),
    "DALI, u8 .npy, volumes alone": ("u8", dali_batches, {"kind": "u8", "with_texts": False}),
    "M3D's loader, 0 and 2 workers": ("augmented f32 and ids", m3d_batches, {"augmented": True}),
    "the same without augmentation": ("f32 and ids", m3d_batches, {"augmented": False}),
}


def cpu_seconds():
    """Processor time of this process and of its workers so far."""
    children = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    total = 0
    for process in ["self", *(child for some in children for child in some)]:
        numbers = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(numbers[11]) + int(numbers[12])
    return total / os.sysconf("SC_CLK_TCK")


def measure(name, folder, count, seconds):
    """Volumes a second and processor time of one, for each number of threads."""
    import torch

    torch.set_num_threads(1)
    _, batches_of, options = PEERS[name]
    found = {}
    for threads in THREADS:
        batches = batches_of(folder, count, threads, **options)
        for _ in range(WARM_UP):
            next(batches)
        done, cpu, start = 0, cpu_seconds(), time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            batch = next(batches)
            done += len(batch[0])
            if batch[0].shape[1:] != SHAPE:
                sys.exit(f"{name}: volumes of {tuple(batch[0].shape)}")
        found[threads] = {"per_second": done / spent, "cpu_ms": 1e3 * (cpu_seconds() - cpu) / done}
        del batches, batch
    return found


def in_own_process(name, folder, count, seconds):
    # Not forked: a peer's threads are nobody else's.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, name, folder, count, seconds).result()


def bench_feed(program, dataset):
    """What the program says of its own feed."""
    command = [program, "bench", "feed", dataset, "--threads", ",".join(map(str, THREADS)), "--json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    report = json.loads(done.stdout)
    return {read["threads"]: {key: read[key] for key in ["per_second", "cpu_ms"]} for read in report["reads"]}, report.get("stored_bytes")


def one_after_the_other(first, second):
    """The rate of both steps of a volume on the same threads."""
    return 1 / (1 / first + 1 / second)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    args = parser.parse_args()
    folder = args.folder / str(args.volumes)
    make(args.program, folder, args.volumes)

    ours = {"none": "med2e3, uncompressed", "lz4": "med2e3, lz4", "zstd1": "med2e3, zstd 1"}
    arrives = {**{name: "u8 and ids, hashes compared" for name in ours.values()}, **{name: peer[0] for name, peer in PEERS.items()}}
    rounds, stored = {name: [] for name in arrives}, {}
    for _ in range(args.rounds):
        for codec, name in ours.items():
            found, stored[codec] = bench_feed(args.program, folder / codec)
            rounds[name].append(found)
        for name in PEERS:
            rounds[name].append(in_own_process(name, folder, args.volumes, args.seconds))

    rates = {}
    for name, found in rounds.items():
        for threads in THREADS:
            each = [one[threads]["per_second"] for one in found]
            cpu = statistics.median(one[threads]["cpu_ms"] for one in found)
            row = {"median": statistics.median(each), "least": min(each), "most": max(each), "cpu_ms": cpu}
            rates.setdefault(name, {})[threads] = {key: round(value, 3) for key, value in row.items()}
    first, scaled = rates[ours["none"]], rates[SCALING]
    f32 = {threads: one_after_the_other(first[threads]["median"], scaled[threads]["median"]) for threads in THREADS}
    ratios = {
        what: {name: {threads: round(of[threads] / rates[name][threads]["median"], 2) for threads in THREADS} for name in rates}
        for what, of in [("uncompressed", {threads: first[threads]["median"] for threads in THREADS}), (THEN_F32, f32)]
    }

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    print(f"{processor()}; {datetime.date.today()}; {args.volumes} volumes, {args.rounds} rounds; volumes a second, median (least to most)\n")
    print("| loader | what arrives | 1 thread | 2 threads | CPU ms each | uncompressed med2e3 to it | and made f32 by torch |")
    print("|---|---|---|---|---|---|---|")

    def both(what):
        return ", ".join(f"{what[threads]:.1f} x" for threads in THREADS)

    for name, of in rates.items():
        cells = [f"{of[threads]['median']:.0f} ({of[threads]['least']:.0f} to {of[threads]['most']:.0f})" for threads in THREADS]
        cells.append(", ".join(f"{of[threads]['cpu_ms']:.2f}" for threads in THREADS))
        is_peer, is_f32 = name in PEERS and name != SCALING, "f32" in arrives[name]
        cells += [both(ratios["uncompressed"][name]) if is_peer else "", both(ratios[THEN_F32][name]) if is_peer and is_f32 else ""]
        print(f"| {name} | {arrives[name]} | " + " | ".join(cells) + " |")
    print(f"| med2e3, uncompressed, then f32 by torch, computed | f32 | {f32[1]:.0f} | {f32[2]:.0f} |  |  |  |\n")
    machine = {"hardware": processor(), "date": str(datetime.date.today()), "versions": versions}
    print(json.dumps({**machine, "volumes": args.volumes, "stored_bytes": stored, "rates": rates, "ratios": ratios}))


if __name__ == "__main__":
    main()
