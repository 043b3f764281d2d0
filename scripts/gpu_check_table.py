"""The last table of scripts/gpu-check.sh: `gpu_check_table.py FOLDER cuda|cpu`. Ends with 0 where every part ran and every comparison
held. On a GPU these are the numbers asked of one H100; on a CPU, whose times mean nothing, those that hold anywhere."""

import json
import math
import pathlib
import sys

PARTS = [
    "environment", "check", "parts", "full", "full-shared", "lora", "first-stage", "traced", "peer-eager",
    "peer-first-stage", "peer-compiled",
]  # fmt: skip
STEPS = ["full", "full-shared", "lora", "first-stage", "peer-eager", "peer-first-stage", "peer-compiled"]
PLANNED = 0.10


def main():
    folder, device = pathlib.Path(sys.argv[1]), sys.argv[2]
    ended = dict(line.split("\t", 1) for line in (folder / "parts.tsv").read_text().splitlines())
    failures = []
    print(f"{'part':<18}{'exit':>6}{'seconds':>9}")
    for name in PARTS:
        code, seconds = ended.get(name, "-\t-").split("\t")
        print(f"{name:<18}{code:>6}{seconds:>9}")
        if code != "0":
            failures.append(f"{name} ended with {code}")

    found = {}
    for name in STEPS + ["traced"]:
        path = folder / f"{name}.json"
        if path.is_file() and path.stat().st_size:
            found[name] = json.loads(path.read_text())
    print(f"\n{'step':<18}{'s':>9}{'texts/s':>9}{'tokens/s':>10}{'MFU %':>7}{'wait %':>8}{'peak GB':>9}{'planned':>9}")
    show = lambda value, scale=1.0: "-" if value is None else f"{scale * value:.2f}"  # noqa: E731
    for name in STEPS:
        step = found.get(name, {})
        numbers = [
            show(step.get("step_seconds")), show(step.get("texts_per_second")), show(step.get("tokens_per_second")),
            show(step.get("utilization"), 100), show(step.get("wait_share"), 100), show(step.get("peak_bytes"), 1e-9),
            show(step.get("planned_bytes"), 1e-9),
        ]  # fmt: skip
        print(f"{name:<18}" + "".join(f"{value:>{width}}" for value, width in zip(numbers, [9, 9, 10, 7, 8, 9, 9])))

    comparisons = list(compare(found, device))
    print(f"\n{'comparison':<62}{'found':>10}{'asked':>12}")
    for what, value, holds, asked in comparisons:
        # What is not a number holds nothing.
        passes = value is not None and not math.isnan(value) and holds(value)
        print(f"{what:<62}{show(value):>10}{asked:>12}{'' if passes else '  missed'}")
        if not passes:
            failures.append(f"{what}: {show(value)}, asked {asked}")
    for failure in failures:
        print("failed:", failure)
    sys.exit(1 if failures else 0)


def compare(found, device):
    of = lambda name, key: found.get(name, {}).get(key)  # noqa: E731

    def ratio(a, b, key="texts_per_second"):
        return of(a, key) / of(b, key) if of(a, key) and of(b, key) else None

    at_least = lambda least: (lambda value: value >= least, f">= {least}")  # noqa: E731
    at_most = lambda most: (lambda value: value <= most, f"<= {most}")  # noqa: E731
    for name in ["full", "full-shared", "lora", "first-stage"]:
        peak, planned = of(name, "peak_bytes"), of(name, "planned_bytes")
        share = peak / planned if peak and planned else None
        within = lambda value: abs(value - 1.0) <= PLANNED  # noqa: E731
        yield f"{name}: peak memory over the planned one", share, within, f"1 +- {PLANNED}"
        losses = of(name, "losses")
        finite = None if losses is None else float(all(math.isfinite(loss) for loss in losses))
        yield f"{name}: losses are finite", finite, *at_least(1.0)
    if device != "cuda":
        return
    percent = lambda name, key: None if of(name, key) is None else 100.0 * of(name, key)  # noqa: E731
    yield "full: texts a second", of("full", "texts_per_second"), *at_least(12.0)
    yield "full: utilization, %", percent("full", "utilization"), *at_least(37.0)
    peak = of("full", "peak_bytes")
    yield "full: peak memory, GB", None if peak is None else peak / 1e9, *at_most(78.0)
    yield "full over the eager peer", ratio("full", "peer-eager"), *at_least(1.2)
    yield "full over the compiled peer", ratio("full", "peer-compiled"), *at_least(1.05)
    yield "full-shared: texts a second", of("full-shared", "texts_per_second"), *at_least(23.0)
    yield "full-shared: utilization, %", percent("full-shared", "utilization"), *at_least(42.0)
    yield "first-stage: texts a second", of("first-stage", "texts_per_second"), *at_least(24.0)
    yield "lora: texts a second", of("lora", "texts_per_second"), *at_least(13.0)
    yield "full: waiting for inputs, %", percent("full", "wait_share"), *at_most(1.0)
    traced = found.get("traced", {}).get("traced") or {}
    idle = traced.get("idle_share")
    yield "traced: device idle, %", None if idle is None else 100.0 * idle, *at_most(3.0)


main()
