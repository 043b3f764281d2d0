"""One training step next to PyTorch eager, in one run: `train_step.py PROGRAM FOLDER [--parts ..] [--rounds 3] [--steps 6] [--warmup 2] [--threads 2] [--compile]`.

The work of a step, batch 1, f32, is forward, backward and AdamW (all parameters, lr 1e-4, no decay):
  vit3d    MONAI's ViT, 32x256x256 voxels, patch 4x16x16: 2048 tokens and the class token, width 256, MLP 1024, 4 blocks, 4 heads;
           loss = mean square of the normed features
  siglip   transformers' SiglipVisionModel on the 32 slices: 256 tokens each, the same sizes; loss as above
  phi3     Phi3ForCausalLM, vocabulary 32064, the same sizes, 512 ids, loss on ids 288 to 511
  full     all three: 3D tokens pooled 2x2x2 and mapped, 2D tokens averaged over slices and mapped, their sum in the place of
           ids 0 to 255
The peers' weights, drawn from seed 0, and inputs lie in FOLDER under published names; PROGRAM (trainer/examples/train_step.rs)
reads them. Both sides run alternately, each part and round in a process of its own. First and last losses must agree, or this
ends with 1. Prints one table row for each part, and on stderr a JSON line for each process. Needs monai, safetensors, torch,
transformers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PARTS = ["vit3d", "siglip", "phi3", "full"]
SIZES = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
TOLERANCE = 1e-4


def build(part):
    import torch
    from torch import nn

    class Vit3d(nn.Module):
        def __init__(self):
            from monai.networks.nets import ViT

            super().__init__()
            self.m = ViT(1, (32, 256, 256), (4, 16, 16), 256, 1024, 4, 4, classification=True, num_classes=2, post_activation=None)
            del self.m.classification_head

        def forward(self, voxels):
            tokens = self.m.patch_embedding(voxels)
            tokens = torch.cat((self.m.cls_token.expand(len(tokens), -1, -1), tokens), 1)
            for block in self.m.blocks:
                tokens = block(tokens)
            return self.m.norm(tokens)[:, 1:]

    class Siglip(nn.Module):
        def __init__(self):
            from transformers import SiglipVisionConfig, SiglipVisionModel

            super().__init__()
            config = SiglipVisionConfig(**SIZES, image_size=256, patch_size=16, vision_use_head=False, attn_implementation="sdpa")
            self.m = SiglipVisionModel(config)

        def forward(self, voxels):
            slices = (voxels[:, 0].transpose(0, 1) - 0.5) / 0.5
            return self.m(pixel_values=slices.expand(-1, 3, -1, -1)).last_hidden_state

    class Phi3(nn.Module):
        def __init__(self):
            from transformers import Phi3Config, Phi3ForCausalLM

            super().__init__()
            config = Phi3Config(**SIZES, vocab_size=32064, num_key_value_heads=4, max_position_embeddings=1024, pad_token_id=0, tie_word_embeddings=False, attn_implementation="sdpa")
            self.m = Phi3ForCausalLM(config)

        def forward(self, ids, labels):
            return self.m(input_ids=ids, labels=labels, use_cache=False).loss

    class Full(nn.Module):
        def __init__(self):
            super().__init__()
            self.vit3d, self.siglip, self.phi3 = Vit3d(), Siglip(), Phi3()
            self.map3d, self.map2d = nn.Linear(256, 256), nn.Linear(256, 256)

        def forward(self, voxels, ids, labels):
            pooled = self.vit3d(voxels).view(-1, 4, 2, 8, 2, 8, 2, 256).mean((2, 4, 6)).flatten(1, 3)
            tokens2d = self.siglip(voxels).mean(0, keepdim=True)
            text = self.phi3.m.get_input_embeddings()(ids)
            embeddings = torch.cat((self.map3d(pooled) + self.map2d(tokens2d), text[:, 256:]), 1)
            return self.phi3.m(inputs_embeds=embeddings, labels=labels, use_cache=False).loss

    torch.manual_seed(0)
    return {"vit3d": Vit3d, "siglip": Siglip, "phi3": Phi3, "full": Full}[part]().train()


def inputs():
    import torch

    generator = torch.Generator().manual_seed(0)
    voxels = torch.rand(1, 1, 32, 256, 256, generator=generator)
    ids = torch.randint(4, 32000, (1, 512), generator=generator)
    labels = ids.clone()
    labels[:, :288] = -100
    return voxels, ids, labels


def published(model, part):
    """The weights by part of the trainer, under published names."""
    inner = {"vit3d": "vision3d_model", "siglip": "vision2d_model", "phi3": "llm"}
    if part == "full":
        files = {name: tensors for child in inner for name, tensors in published(getattr(model, child), child).items()}
        for name, linear in [("vision3d_connector", model.map3d), ("vision2d_connector", model.map2d)]:
            files[name] = {f"_connector.{key}": value for key, value in linear.state_dict().items()}
        return files
    # MONAI's blocks carry weights for a cross-attention that is not used here.
    tensors = {name: tensor for name, tensor in model.m.state_dict().items() if "cross_attn" not in name}
    if part == "vit3d":
        # The published encoder maps patches by a matrix; MONAI's convolution has the same numbers in the same order.
        for key, new in [("weight", "1.weight"), ("bias", "1.bias")]:
            tensor = tensors.pop(f"patch_embedding.patch_embeddings.{key}")
            tensors[f"patch_embedding.patch_embeddings.{new}"] = tensor.flatten(1) if key == "weight" else tensor
    return {inner[part]: tensors}


def make(folder):
    from safetensors.torch import save_file

    voxels, ids, _ = inputs()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"voxels": voxels, "ids": ids}, folder / "inputs.safetensors")
    for part in PARTS:
        for name, tensors in published(build(part), part).items():
            path = folder / part / f"{name}.safetensors"
            path.parent.mkdir(exist_ok=True)
            save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, path)


def peak_mib():
    """VmHWM, not `ru_maxrss`: a child's begins at what its parent held when it started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def peer(args):
    import torch

    torch.set_num_threads(args.threads)
    model = build(args.peer)
    voxels, ids, labels = inputs()
    given = {"vit3d": (voxels,), "siglip": (voxels,), "phi3": (ids, labels), "full": (voxels, ids, labels)}[args.peer]
    forward = torch.compile(model) if args.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, foreach=True)
    start_mib = peak_mib()
    steps, losses = [], []
    for step in range(args.warmup + args.steps):
        begin = time.perf_counter()
        out = forward(*given)
        loss = out if out.ndim == 0 else out.pow(2).mean()
        forwarded = time.perf_counter()
        loss.backward()
        backwarded = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        end = time.perf_counter()
        losses.append(loss.item())
        if step >= args.warmup:
            steps.append([1e3 * ms for ms in (forwarded - begin, backwarded - forwarded, end - backwarded)])
    print(json.dumps({"part": args.peer, "steps_ms": steps, "losses": losses, "start_mib": start_mib, "peak_mib": peak_mib()}))


def measured(command, who):
    # libtorch's threads wait by sleeping, on both sides, as the product's do.
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps({"who": who, **found, "load": os.getloadavg()[0]}), file=sys.stderr, flush=True)
    return found


def medians(rounds):
    """Milliseconds of the step, forward, backward, optimizer; peak MiB; MiB above what was held before the first step."""
    steps = [step for found in rounds for step in found["steps_ms"]]
    times = [statistics.median(sum(step) for step in steps)] + [statistics.median(step[i] for step in steps) for i in range(3)]
    return times, max(r["peak_mib"] for r in rounds), max(r["peak_mib"] - r["start_mib"] for r in rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peer", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    make(args.folder)
    numbers = ["--steps", args.steps, "--warmup", args.warmup, "--threads", args.threads]
    print("| part | peer ms | forward, backward, AdamW | med2e3 ms | forward, backward, AdamW | ratio | peer peak MiB | med2e3 peak MiB | ratio | above the start, MiB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    agree = True
    for part in args.parts.split(","):
        theirs, ours = [], []
        for _ in range(args.rounds):
            command = [sys.executable, __file__, args.program, args.folder, "--peer", part, *numbers]
            theirs.append(measured(command + ["--compile"] * args.compile, "peer"))
            ours.append(measured([args.program, args.folder, part, *numbers], "med2e3"))
        for index in (0, -1):
            expected, found = theirs[0]["losses"][index], ours[0]["losses"][index]
            if abs(expected - found) > TOLERANCE:
                agree = False
                print(f"{part}: loss {index} is {found}, the peer's {expected}", file=sys.stderr)
        (a, a_peak, a_above), (b, b_peak, b_above) = medians(theirs), medians(ours)
        split = lambda times: ", ".join(f"{ms:.0f}" for ms in times[1:])  # noqa: E731
        print(f"| {part} | {a[0]:.0f} | {split(a)} | {b[0]:.0f} | {split(b)} | {b[0] / a[0]:.2f} | {a_peak:.0f} | {b_peak:.0f} | {b_peak / a_peak:.2f} | {a_above:.0f}, {b_above:.0f} | {b_above / a_above:.2f} |", flush=True)
    sys.exit(0 if agree else 1)


main()
