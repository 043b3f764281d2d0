"""What a step costs at the published sizes, by torch's own counters: FLOPs of each module (FlopCounterMode on the meta device) and the
bytes that one block leaves for its backward pass (saved tensors on a pretended GPU), of the blocks in tests/peers/step.py. No GPU, no
memory. Writes plan.json."""

import json
import pathlib
import sys

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "tests/peers"))
import step  # noqa: E402

TOKENS, TARGETS = 617, 27
MODULES = ["llm", "vision2d", "vision3d", "connector2d", "connector3d", "patch2d", "patch3d", "head"]


def flops():
    meta = torch.device("meta")
    model = step.build(step.PUBLISHED, 2, torch.bfloat16, meta)
    model.recomputes = False
    ids = lambda *shape: torch.zeros(shape, dtype=torch.long, device=meta)  # noqa: E731
    voxels = torch.empty(1, *step.PUBLISHED.volume, dtype=torch.uint8, device=meta)

    def by_module(counter):
        counts = counter.get_flop_counts()
        named = {name: 0 for name in MODULES}
        for path, operators in counts.items():
            parts = path.split(".")
            # `Med2e3.llm.3` is one block; deeper paths are counted in it.
            is_block = len(parts) == 3 and parts[1] in ("llm", "vision2d", "vision3d") and parts[2].isdigit()
            is_whole = len(parts) == 2 and parts[1] in MODULES
            if is_block or is_whole:
                named[parts[1]] += sum(operators.values())
        return {"all": counter.get_total_flops(), **named}

    with FlopCounterMode(display=False) as forward:
        loss = model(voxels, ids(1, TOKENS), ids(1, step.QUESTION_TOKENS), ids(TARGETS), ids(TARGETS))
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return {"tokens": TOKENS, "targets": TARGETS, "trained": trained, "forward": by_module(forward), "backward": backward.get_total_flops()}


def flash(queries, keys, values, is_causal):
    """The kernel that a GPU takes, named, since a pretended one chooses none."""
    queries, keys, values = (x.transpose(1, 2) for x in (queries, keys, values))
    out = torch.ops.aten._scaled_dot_product_flash_attention(queries, keys, values, 0.0, is_causal)[0]
    return out.transpose(1, 2).flatten(2)


class FusedRmsNorm(torch.autograd.Function):
    """What the GPU's kernel keeps (derivatives.yaml, `_fused_rms_norm`): input, weight and one f32 a row. On a pretended GPU torch takes
    the norm apart instead."""

    @staticmethod
    def forward(context, x, weight):
        context.save_for_backward(x, weight, x.new_empty(x.shape[:-1], dtype=torch.float32))
        return torch.empty_like(x)


def saved_bytes(block, rows, tokens, width, learns, *shared):
    block.requires_grad_(learns)
    hidden = torch.empty(rows, tokens, width, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    weights = {weight.untyped_storage()._cdata for weight in block.parameters()}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            seen[storage._cdata] = storage.nbytes()
        return tensor

    # Not the leaf itself: what a block is given was computed.
    given = hidden * 1
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(given, *shared)
    return sum(seen.values()) / (rows * tokens)


def saved():
    step.attend = flash
    torch.nn.RMSNorm.forward = lambda norm, x: FusedRmsNorm.apply(x, norm.weight)
    sizes, result = step.PUBLISHED, {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        torch.set_default_dtype(torch.bfloat16)
        for name, kind, (width, inner, _, heads), tokens in [
            ("llm", step.Decoder, sizes.llm, 616),
            ("vision2d", step.Encoder2d, sizes.vision2d, 256),
            ("vision3d", step.Encoder3d, sizes.vision3d, 2049),
        ]:
            with torch.device("cuda"):
                block = kind(width, inner, heads)
            angles = torch.ones(tokens, 1, width // heads // 2, dtype=torch.bfloat16, device="cuda")
            shared = (angles, angles) if name == "llm" else ()
            result[name] = {how: saved_bytes(block, 4, tokens, width, how == "full", *shared) for how in ("full", "frozen")}
        torch.set_default_dtype(torch.float32)
    return result


found = {"flops": flops(), "saved_bytes_per_token": saved()}
(HERE / "plan.json").write_text(json.dumps(found, indent=2) + "\n")
print(json.dumps(found))
