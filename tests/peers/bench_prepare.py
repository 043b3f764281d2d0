"""Preparation of volumes next to its peers, in one run: `bench_prepare.py MED2E3_DATA FOLDER [--repeats 2] [--volumes 3] [--copies 12]`.

Makes phantom CTs in FOLDER (512 x 512 x 200 int16 NIfTI, gzip level 6; 60-slice PNG and JPEG series of 512 x 512), then measures
in turn, one core each:
  isal       Python's isal inflates the .nii.gz files and does nothing else
  MONAI      the official steps: load (NIfTI by MONAI, slices by Pillow), min-max, CropForeground, Resize to 32x256x256
  med2e3     the program's own `prepare` on the folder, with its shards, hashes and index
and the program with two threads. Prints one table row for each kind and a JSON line. Needs isal, monai, nibabel, pillow, torch.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]:
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from isal import isal_zlib  # noqa: E402
from monai.transforms import CropForeground, LoadImage, Resize  # noqa: E402
from phantom import phantom, write_nifti  # noqa: E402
from PIL import Image  # noqa: E402

torch.set_num_threads(1)


def make(folder, count, copies):
    for number in range(count):
        nifti = folder / "nifti" / f"case{number}" / "ct.nii.gz"
        if not nifti.exists():
            nifti.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(nifti, phantom(200, 512, number))
        for kind in ["png", "jpeg"]:
            series = folder / kind / f"case{number}" / "Axial"
            if not series.exists():
                series.mkdir(parents=True)
                window = np.clip((phantom(60, 512, 100 + number) + 160.0) / 400 * 255, 0, 255).astype(np.uint8)
                for place, pixels in enumerate(window):
                    Image.fromarray(pixels).save(series / f"{place}.{kind}")
        # More inputs by other names, so that what a run costs once is spread as in a real run.
        for copy in range(1, copies):
            for kind in ["nifti", "png", "jpeg"]:
                source, target = folder / kind / f"case{number}", folder / kind / f"case{number}_{copy}"
                if not target.exists():
                    shutil.copytree(source, target, copy_function=os.link)


def official_steps(volume):
    volume = volume - volume.min()
    volume = volume / np.clip(volume.max(), a_min=1e-8, a_max=None)
    return Resize((32, 256, 256), mode="bilinear")(CropForeground()(volume))


def monai_nifti(path):
    volume = LoadImage(image_only=True, dtype=np.float32)(path / "ct.nii.gz")
    official_steps(np.asarray(volume).transpose(2, 1, 0)[None])


def monai_series(path):
    files = sorted((path / "Axial").iterdir(), key=lambda file: int(file.stem))
    slices = [np.array(Image.open(file).convert("L"), dtype=np.float32) / 255 for file in files]
    official_steps(np.stack(slices)[None])


def inflate(path):
    isal_zlib.decompress((path / "ct.nii.gz").read_bytes(), 31)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def prepare(program, folder, threads):
    """Wall seconds of one whole run, as its own report states them."""
    with tempfile.TemporaryDirectory() as out:
        command = [program, "prepare", folder, "--recipe", "m3d", "--voxels", "u8", "--threads", str(threads), "--json", "--out", Path(out) / "dataset"]
        command += ["--set", "provenance.paths=keep", "--set", "engine.volumes_per_range=4"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        report = json.loads(done.stdout)
        return report["seconds"], report["step_seconds"], report["volumes"]["rows"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--copies", type=int, default=12)
    args = parser.parse_args()
    make(args.folder, args.volumes, args.copies)
    print("| input | isal inflate s | MONAI s | med2e3 s | to isal | MONAI to med2e3 | two threads | shard writing |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, peer in [("nifti", monai_nifti), ("png", monai_series), ("jpeg", monai_series)]:
        cases = [args.folder / kind / f"case{number}" for number in range(args.volumes)]
        peer(cases[0])  # Imports and first touches are nobody's time.
        times = {"isal": [], "monai": [], "one": [], "two": [], "write": []}
        for _ in range(args.repeats):
            if kind == "nifti":
                times["isal"] += [seconds(lambda: inflate(case)) for case in cases]
            times["monai"] += [seconds(lambda: peer(case)) for case in cases]
            wall, steps, rows = prepare(args.program, args.folder / kind, 1)
            times["one"].append(wall / rows)
            times["write"].append(steps["write"] / wall)
            print(kind, {step: round(1000 * value / rows, 2) for step, value in steps.items()}, "ms a volume", file=sys.stderr)
            times["two"].append(prepare(args.program, args.folder / kind, 2)[0] / rows)
        middle = {name: statistics.median(values) if values else float("nan") for name, values in times.items()}
        row = [middle["isal"], middle["monai"], middle["one"], middle["one"] / middle["isal"], middle["monai"] / middle["one"], middle["one"] / middle["two"], middle["write"]]
        print(f"| {kind} | " + " | ".join("-" if value != value else f"{value:.3f}" for value in row) + " |", flush=True)
        print(json.dumps({"input": kind, **middle}), file=sys.stderr)


main()
