#!/usr/bin/env bash
# Checks and measures training on this machine's device, next to plain torch: one call, at most six minutes.
#
#   scripts/gpu-check.sh                              on a GPU, at the published sizes
#   scripts/gpu-check.sh --device cpu --sizes tiny    the same commands without a GPU, some 100 s on two cores
#
# MED2E3_BIN is the program (else target/release/med2e3 or target/debug/med2e3), PYTHON a Python with torch 2.11 (else python3),
# OUT the folder for the numbers (else a new one). A program that was built without a GPU takes libtorch's CUDA half from that
# Python's torch. Every part has its own limit of time, which together are the script's, and goes on if another fails. Ends with one
# table; 0 only where every part ran and every comparison held.
set -uo pipefail

device=cuda sizes=published
while [ $# -gt 0 ]; do
    case "$1 ${2:-}" in
        "--device cuda" | "--device cpu") device=$2 ;;
        "--sizes published" | "--sizes tiny") sizes=$2 ;;
        *)
            echo "usage: scripts/gpu-check.sh [--device cuda|cpu] [--sizes published|tiny]" >&2
            exit 2
            ;;
    esac
    shift 2
done

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
program=${MED2E3_BIN:-}
for built in release debug; do
    [ -n "$program" ] || { [ -x "$root/target/$built/med2e3" ] && program=$root/target/$built/med2e3; }
done
[ -x "${program:-}" ] || { echo "no program: build it, or name it by MED2E3_BIN" >&2; exit 2; }
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"

if [ "$device" = cuda ]; then
    limit=355 slack=1 texts=16 micro=8 shared=8 steps=4 warmup=2 threads=0 compile=inductor
    libraries=$("$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))') &&
        export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
else
    # Graphs are captured, but no compiler is asked for.
    # Some 100 s on two cores, most of them for loading torch five times; a busy machine has more time for each part.
    limit=240 slack=3 texts=4 micro=2 shared=2 steps=1 warmup=1 threads=1 compile=eager
fi
# Without it cuBLAS has no fixed order of its sums, which the interrupted run of `bench check` needs.
export CUBLAS_WORKSPACE_CONFIG=:4096:8
# Less memory lies unused between tensors of different sizes, for the program and for its peer alike.
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
: > "$out/parts.tsv"

# part NAME SECONDS COMMAND..: its output to a file and to the terminal.
part() {
    local name=$1 most=$(($2 * slack)) left=$((limit - SECONDS)) start=$SECONDS code
    shift 2
    [ "$most" -lt "$left" ] || most=$left
    echo "== $name"
    if [ "$most" -le 0 ]; then
        echo "no time is left for it"
        code=124
    else
        timeout --kill-after=5 "$most" "$@" 2>&1 | tee "$out/$name.txt"
        code=${PIPESTATUS[0]}
    fi
    printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - start))" >> "$out/parts.tsv"
}

step() {
    local name=$1 most=$2
    shift 2
    part "$name" "$most" "$program" bench step --device "$device" --threads "$threads" --sizes "$sizes" --texts "$texts" \
        --steps "$steps" --warmup "$warmup" --json "$out/$name.json" "${rates[@]}" "$@"
}

peer() {
    local name=$1 most=$2
    shift 2
    part "$name" "$most" "$python" "$root/tests/peers/step.py" --device "$device" --threads "$threads" --sizes "$sizes" \
        --texts "$texts" --micro "$micro" --steps "$steps" --warmup "$warmup" --json "$out/$name.json" "$@"
}

environment() {
    "$program" --version
    "$python" - "$device" <<'PYTHON'
import sys
import torch

print("torch", torch.__version__, "threads", torch.get_num_threads())
if sys.argv[1] == "cuda":
    card = torch.cuda.get_device_properties(0)
    print(card.name, f"{card.total_memory / 2**30:.1f} GiB", "capability", f"{card.major}.{card.minor}")
    print("CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
    print("attention, first to last:", torch._C._get_sdp_priority_order())
PYTHON
    local code=$?
    if [ "$device" = cuda ]; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader || code=1
        ldd "$program" | grep -E "torch|c10" || code=1
    fi
    return $code
}
export -f environment
export program python device

# What is compared comes first: the limits add up to the script's, so that none takes another's time.
part environment 15 bash -c environment
part check 30 "$program" bench check --device "$device" --threads "$threads" --json "$out/check.json"
part parts 30 "$program" bench parts --device "$device" --threads "$threads" --sizes "$sizes" --json "$out/parts.json"
# What was measured is what the steps are planned by.
rates=()
[ -s "$out/parts.json" ] && rates=(--profile "$out/parts.json")
step full 40 --stage 2 --tune full --policy auto
peer peer-compiled 85 --stage 2 --compile "$compile"
peer peer-eager 35 --stage 2
step full-shared 25 --stage 2 --tune full --policy auto --texts-per-volume "$shared"
step lora 25 --stage 2 --tune lora --policy auto
step first-stage 20 --stage 1 --policy auto
peer peer-first-stage 25 --stage 1
steps=1 warmup=1 step traced 25 --stage 2 --tune full --policy auto --trace "$out/trace.json"

echo "== table"
"$python" "$root/scripts/gpu_check_table.py" "$out" "$device"
