"""Reads a run's event files as TensorBoard does and compares every scalar with the run's `train.jsonl`.

    python3 -m pip install tensorboard
    python3 tests/peers/open_events.py RUN

First file by file with TensorBoard's record reader, which checks every checksum: no step stands twice in all files together.
Then the whole folder with its EventAccumulator, from which its pages are made. Ends with 1 where a number differs.
"""

import json
import math
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

run = Path(sys.argv[1])
NAMED = {
    "rate/texts_per_second": "texts_per_second",
    "rate/tokens_per_second": "tokens_per_second",
    "rate/volumes_per_second": "volumes_per_second",
    "share/padding": "padding_share",
    "share/waiting_for_data": "wait_share",
    "utilization/mfu": "mfu",
    "utilization/hfu": "hfu",
    "memory/peak_bytes": "peak_bytes",
    "gradient_norm/clipped": "clipped_norm",
}


def expected(line):
    """The numbers of a line of the log, by tag, as f32 holds them."""
    own = {name: line[name] for name in ("loss", "token_accuracy", "learning_rate", "gradient_norm", "seconds")}
    own["skipped"] = float(line.get("skipped", False))
    own |= {tag: line[name] for tag, name in NAMED.items() if name in line}
    own |= {f"loss/{task}": of_task["loss"] for task, of_task in line.get("by_task", {}).items()}
    as_f32 = lambda number: math.nan if number is None else struct.unpack("<f", struct.pack("<f", number))[0]
    return {tag: as_f32(number) for tag, number in own.items()}


def is_equal(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


log = {line["step"]: expected(line) for line in map(json.loads, (run / "train.jsonl").read_text().splitlines())}
wrong, seen, times = [], {}, []
files = sorted((run / "events").glob("*tfevents*"))
for path in files:
    for event in EventFileLoader(str(path)).Load():
        times.append(event.wall_time)
        for value in event.summary.value:
            if value.tag.startswith("validation/"):
                continue
            number = value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
            if (event.step, value.tag) in seen:
                wrong.append(f"{value.tag} of step {event.step} stands twice")
            seen[event.step, value.tag] = number
wanted = {(step, tag): number for step, own in log.items() for tag, number in own.items()}
wrong += [f"{key} is {seen.get(key)}, {number} logged" for key, number in wanted.items() if not is_equal(seen.get(key, math.inf), number)]
wrong += [f"{key} is not logged" for key in seen.keys() - wanted.keys()]
wrong += ["a clock that goes back" for before, after in zip(times, times[1:]) if after < before and len(files) == 1]

accumulator = EventAccumulator(str(run / "events"), size_guidance={"tensors": 0, "scalars": 0})
accumulator.Reload()
tags = accumulator.Tags()
of_page = {}
for tag in tags["tensors"]:
    for event in accumulator.Tensors(tag):
        of_page[event.step, tag] = event.tensor_proto.float_val[0]
for tag in tags["scalars"]:
    for event in accumulator.Scalars(tag):
        of_page[event.step, tag] = event.value
missing = [key for key, number in wanted.items() if not is_equal(of_page.get(key, math.inf), number)]
wrong += [f"{key} is not on TensorBoard's pages" for key in missing]
validated = sorted({step for step, tag in of_page if tag.startswith("validation/")})
print(f"{len(files)} files, {len(log)} steps, {len(wanted)} scalars, {len({tag for _, tag in of_page})} tags; validated after {validated}")
for line in wrong[:20]:
    print(line)
sys.exit(bool(wrong) or not wanted)
