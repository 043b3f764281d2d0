"""A whole training of the demo's model through the feed, and the optimizer's update, next to plain torch, in one run; prints a table.

  train_run.py PROGRAM UPDATE_TIME DATASET [--rounds 3] [--steps 20] [--threads 1] [--no-compile]

PROGRAM is `med2e3`, UPDATE_TIME `trainer/examples/update_time.rs`, DATASET the demo's. `med2e3 train` reads, checks and decodes its
volumes, plans steps and logs; the peer, the model of `step.py` of the same sizes, has its volumes in memory already. Its texts are
the dataset's, in batches of as many, padded to the longest of the batch (compiled: to the longest of all), nothing is computed
again on either side, gradients are clipped. Both train the language model, the 2D encoder and the connectors.

Seconds of a step are the median over rounds and steps; those of the processor are of whole programs, and the difference between a
run of all steps and one of four. Rounds take turns, so that a machine's load meets both sides. Needs torch 2.11 and pyarrow.
"""

import argparse
import datetime
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import step as peer
from machine import processor

# configs/demo/pretrain.toml.
BATCH = 8
DEMO = dict(llm=(128, 384, 3, 4), vision2d=(64, 256, 1, 4), vision3d=(64, 256, 2, 4), volume=(32, 256, 256), patch2d=32, patch3d=(8, 32, 32))
TRAINED = ["llm", "vision2d_model", "vision2d_connector", "vision3d_connector"]
IMAGE = -200
FEW = 4
WARMUP = 2
MATRICES, SIDE, UPDATES = 12, 1024, 11


def texts(dataset):
    """Ids and target spans of the training captions, and the tokenizer's size."""
    import pyarrow.parquet as pq

    rows = []
    for path in sorted((dataset / "samples").glob("*.parquet")):
        table = pq.read_table(path, columns=["task", "split", "ids", "target_spans"])
        rows += [row for row in table.to_pylist() if row["task"] == "caption" and row["split"] == "train"]
    vocabulary = max(max(row["ids"]) for row in rows) + 1
    return rows, vocabulary


def batches(rows, sizes, count, is_one_width):
    """As many batches as steps, in a drawn order: uint8 volumes, ids, question ids, places of targets and the target ids."""
    import torch

    generator = torch.Generator().manual_seed(1)
    draw = lambda most, *shape: torch.randint(0, most, shape, generator=generator)  # noqa: E731
    length = lambda row: len(row["ids"]) - 1 + sizes.visual_tokens  # noqa: E731
    order = rows * (1 + count * BATCH // len(rows))
    random.Random(1).shuffle(order)
    widest = max(length(row) for row in rows)
    found = []
    for first in range(0, count * BATCH, BATCH):
        of_step = order[first : first + BATCH]
        width = widest if is_one_width else max(length(row) for row in of_step)
        places = []
        for place, row in enumerate(of_step):
            spans = [tuple(span.values()) if isinstance(span, dict) else tuple(span) for span in row["target_spans"]]
            places += [place * width + at + sizes.visual_tokens - 2 for start, stop in spans for at in range(start, stop)]
        found.append(
            (
                draw(256, BATCH, *sizes.volume).to(torch.uint8),
                draw(sizes.vocabulary, BATCH, width),
                draw(sizes.vocabulary, BATCH, peer.QUESTION_TOKENS),
                torch.tensor(places),
                draw(sizes.vocabulary, len(places)),
            )
        )
    return found


def torch_run(args):
    """One peer: seconds of each step, and the processor's seconds of one."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    rows, vocabulary = texts(args.dataset)
    sizes = peer.Sizes(vocabulary=vocabulary, shorter=1, **DEMO)
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[args.precision]
    model = peer.build(sizes, 2, kind, torch.device("cpu"))
    model.recomputes = False
    if args.compile:
        for blocks in (model.llm, model.vision2d, model.vision3d):
            for index, block in enumerate(blocks):
                blocks[index] = torch.compile(block, dynamic=False)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if args.precision == "f32":
        optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.0, fused=True)
    else:
        optimizer = peer.MasterAdamW(weights, False)
    given = batches(rows, sizes, args.steps, args.compile)
    seconds, losses, busy = [], [], 0.0
    for place, batch in enumerate(given):
        if place == WARMUP:
            busy = time.process_time()
        start = time.perf_counter()
        loss = model(*batch) / len(batch[-1])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        for weight in weights:
            weight.grad = None
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    busy = (time.process_time() - busy) / (len(given) - WARMUP)
    print(json.dumps({"seconds": seconds[WARMUP:], "busy": busy, "losses": losses}))


def torch_update(threads):
    """Nanoseconds a weight of torch's fused AdamW in f32."""
    import torch

    torch.set_num_threads(threads)
    weights = [torch.nn.Parameter(torch.randn(SIDE, SIDE) * 0.02) for _ in range(MATRICES)]
    optimizer = torch.optim.AdamW(weights, lr=1e-5, weight_decay=0.0, fused=True)
    for weight in weights:
        weight.grad = torch.full_like(weight, 0.001)
    seconds = []
    for _ in range(UPDATES):
        start = time.perf_counter()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    print(1e9 * statistics.median(seconds) / (MATRICES * SIDE * SIDE))


def said(command):
    """What a program prints, and the processor's seconds that it took. Threads wait by sleeping on both sides, as the product's do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={"OMP_WAIT_POLICY": "passive", **os.environ})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command}\n{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(args, precision, steps):
    """The report of a run of so many steps, and the processor's seconds of it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "data.dataset": json.dumps(str(args.dataset)),
            "data.max_steps": steps,
            "device": '"cpu"',
            "threads": args.threads,
            "model.train": json.dumps(TRAINED),
            "validation": "{every=1000000,batches=1}",
            "compute.precision": json.dumps(precision),
        }
        command = [args.program, "train", "configs/demo/pretrain.toml", "--json", "--out", Path(folder) / "run"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        printed, busy = said(command)
    return json.loads(printed)["steps"], busy


def product(args, precision):
    few, before = ours(args, precision, FEW)
    steps, after = ours(args, precision, args.steps)
    steps, busy = steps[WARMUP:], (after - before) / (len(steps) - len(few))
    waited = sum(step["wait_seconds"] for step in steps) / sum(step["seconds"] for step in steps)
    return {"seconds": [step["seconds"] for step in steps], "busy": busy, "waited": waited}


def torch_peer(args, precision, is_compiled):
    command = [sys.executable, __file__, args.program, args.update_time, args.dataset, "--steps", args.steps, "--threads", args.threads]
    printed, _ = said([*command, "--peer", precision, *(["--compile"] if is_compiled else [])])
    return json.loads(printed.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("update_time", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, where there is no compiler")
    parser.add_argument("--peer", dest="precision", choices=("f32", "bf16"), help=argparse.SUPPRESS)
    parser.add_argument("--compile", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--update", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps <= FEW:
        parser.error(f"--steps: more than {FEW} expected, found {args.steps}")
    if args.update:
        return torch_update(args.threads)
    if args.precision:
        return torch_run(args)

    kinds = {("med2e3", "f32"): lambda: product(args, "f32"), ("torch eager", "f32"): lambda: torch_peer(args, "f32", False)}
    if not args.no_compile:
        kinds["torch compiled", "f32"] = lambda: torch_peer(args, "f32", True)
    kinds |= {("med2e3", "bf16"): lambda: product(args, "bf16"), ("torch eager", "bf16"): lambda: torch_peer(args, "bf16", False)}
    update = [sys.executable, __file__, args.program, args.update_time, args.dataset, "--threads", args.threads, "--update"]
    updates = {"med2e3 f32": [args.update_time, "f32", args.threads], "med2e3 bf16": [args.update_time, "bf16", args.threads], "torch f32, fused": update}
    found, updated = {key: [] for key in kinds}, {key: [] for key in updates}
    for _ in range(args.rounds):
        for key, measure in kinds.items():
            found[key].append(measure())
        for key, command in updates.items():
            updated[key].append(float(said(command)[0]))

    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{processor()}; {args.threads} threads a side; {datetime.date.today()}; load {loads}; {args.rounds} rounds of {args.steps} steps\n")
    median = {key: statistics.median(s for one in rounds for s in one["seconds"]) for key, rounds in found.items()}
    busy = {key: statistics.median(one["busy"] for one in rounds) for key, rounds in found.items()}
    print("| | | ms a step | of the processor | med2e3 over it | waiting for data |\n|---|---|---|---|---|---|")
    for (name, precision), rounds in found.items():
        key, own = (name, precision), ("med2e3", precision)
        waited = f"{100 * statistics.median(one['waited'] for one in rounds):.2f} %" if name == "med2e3" else ""
        ratio = "" if name == "med2e3" else f"{median[own] / median[key]:.2f}; {busy[own] / busy[key]:.2f}"
        print(f"| {name} | {precision} | {1e3 * median[key]:.0f} | {1e3 * busy[key]:.0f} | {ratio} | {waited} |")
    print("\n| AdamW | ns a weight |\n|---|---|")
    for key, values in updated.items():
        print(f"| {key} | {statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()
