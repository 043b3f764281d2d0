"""One optimizer step of Med-2E3 in plain torch: the peer of `med2e3 bench step`.

  step.py --sizes published|tiny --stage 1|2 --texts 16 --micro 8 --steps 4 --warmup 2 --device cuda|cpu
          [--compile none|inductor|eager] [--precision bf16|f32] [--json FILE]
  step.py --count        FLOPs of one text at the published sizes, on the meta device: no GPU, no memory

The work is that of the released training: bf16 weights with f32 masters and moments, gradients accumulated in bf16 over
micro-batches of shuffled texts that are padded to their longest, blocks computed again in the backward pass, torch's own
attention, fused AdamW. Stage 1 trains the connectors; stage 2 them, the language model and the 2D encoder. With `--compile
inductor` every block goes through torch.compile, and all micro-batches are padded to one width, so that each block is compiled once;
`eager` captures the graphs and runs them as they are, where there is no compiler.

Texts have the lengths of `med2e3 bench step` (`length_of`), ids and voxels are drawn from a seed. Needs torch alone. Prints one line of JSON.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Sizes:
    """Widths, inner widths, blocks and heads of the parts; shapes of volume and patches."""

    llm: tuple
    vision2d: tuple
    vision3d: tuple
    vocabulary: int
    volume: tuple
    patch2d: int
    patch3d: tuple
    # Tokens of a text beyond the visual ones are divided by this.
    shorter: int

    @property
    def grid(self):
        return tuple(size // patch for size, patch in zip(self.volume, self.patch3d))

    @property
    def visual_tokens(self):
        depth, height, width = (side // 2 for side in self.grid)
        return depth * height * width + (self.volume[1] // self.patch2d) ** 2


# microsoft/Phi-3-mini-4k-instruct, google/siglip-large-patch16-256, M3D-CLIP.
PUBLISHED = Sizes(
    (3072, 8192, 32, 32), (1024, 4096, 24, 16), (768, 3072, 12, 12), 32064, (32, 256, 256), 16, (4, 16, 16), 1
)
TINY = Sizes((128, 256, 4, 4), (64, 128, 4, 4), (64, 128, 2, 4), 512, (8, 32, 32), 8, (2, 8, 8), 4)

# Weight, tokens beyond the visual ones and targets of a kind of text: captions, open and closed questions.
MIX = ((115, 208, 165), (420, 68, 7), (420, 113, 9))
QUESTION_TOKENS = 20
# Id tokens before the visual ones, as a template puts them.
PREFIX = 8


def length_of(index, sizes):
    """Tokens after splicing and targets of text `index`: kinds follow each other in the shares of MIX, the same at every run."""
    place = (index * 356 + 178) % sum(weight for weight, _, _ in MIX)
    for weight, tokens, targets in MIX:
        if place < weight:
            return sizes.visual_tokens + -(-tokens // sizes.shorter), -(-targets // sizes.shorter)
        place -= weight


def attend(queries, keys, values, is_causal):
    """(B, T, A, E) each, back to (B, T, A E)."""
    queries, keys, values = (x.transpose(1, 2) for x in (queries, keys, values))
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal).transpose(1, 2).flatten(2)


class Decoder(nn.Module):
    """A block of Phi-3."""

    def __init__(self, width, inner, heads):
        super().__init__()
        self.head_width = width // heads
        self.attention_norm, self.mlp_norm = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate_up, self.down = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, hidden, cosine, sine):
        heads = self.qkv(self.attention_norm(hidden)).unflatten(-1, (-1, self.head_width))
        turned, values = heads.tensor_split((2 * heads.shape[2] // 3,), dim=2)
        left, right = turned.chunk(2, -1)
        turned = torch.cat((left * cosine - right * sine, right * cosine + left * sine), -1)
        queries, keys = turned.chunk(2, 2)
        hidden = hidden + self.out(attend(queries, keys, values, True))
        gate, up = self.gate_up(self.mlp_norm(hidden)).chunk(2, -1)
        return hidden + self.down(F.silu(gate) * up)


class Encoder2d(nn.Module):
    """A block of SigLIP: a map each for queries, keys and values."""

    def __init__(self, width, inner, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, hidden):
        normed = self.attention_norm(hidden)
        heads = [part(normed).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value)]
        hidden = hidden + self.out(attend(*heads, False))
        return hidden + self.down(F.gelu(self.up(self.mlp_norm(hidden)), approximate="tanh"))


class Encoder3d(nn.Module):
    """A block of M3D-CLIP's vision transformer."""

    def __init__(self, width, inner, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width, 1e-5), nn.LayerNorm(width, 1e-5)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, hidden):
        queries, keys, values = self.qkv(self.attention_norm(hidden)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        hidden = hidden + self.out(attend(queries, keys, values, False))
        return hidden + self.down(F.gelu(self.up(self.mlp_norm(hidden))))


def connector(width, to):
    return nn.Sequential(nn.Linear(width, to), nn.GELU(), nn.Linear(to, to))


def tower(block, sizes):
    width, inner, blocks, heads = sizes
    return nn.ModuleList(block(width, inner, heads) for _ in range(blocks))


class Med2e3(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        width, wide2d, wide3d = sizes.llm[0], sizes.vision2d[0], sizes.vision3d[0]
        self.embedding, self.head = nn.Embedding(sizes.vocabulary, width), nn.Linear(width, sizes.vocabulary, bias=False)
        self.llm, self.norm = tower(Decoder, sizes.llm), nn.RMSNorm(width, 1e-5)
        self.patch2d = nn.Linear(sizes.patch2d**2, wide2d)
        self.positions2d = nn.Parameter(torch.empty((sizes.volume[1] // sizes.patch2d) ** 2, wide2d))
        self.vision2d = tower(Encoder2d, sizes.vision2d)
        depth, height, columns = sizes.patch3d
        self.patch3d = nn.Linear(depth * height * columns, wide3d)
        self.positions3d = nn.Parameter(torch.empty(sizes.grid[0] * sizes.grid[1] * sizes.grid[2], wide3d))
        self.class_token = nn.Parameter(torch.empty(1, 1, wide3d))
        self.vision3d = tower(Encoder3d, sizes.vision3d)
        self.connector2d, self.connector3d = connector(wide2d, width), connector(wide3d, width)
        self.recomputes = True

    def through(self, blocks, hidden, *shared):
        learns = torch.is_grad_enabled() and (hidden.requires_grad or any(p.requires_grad for p in blocks.parameters()))
        for block in blocks:
            if learns and self.recomputes:
                hidden = checkpoint(block, hidden, *shared, use_reentrant=False, preserve_rng_state=False)
            else:
                hidden = block(hidden, *shared)
        return hidden

    def tokens2d(self, voxels):
        """(B, D, H, W) to (B, D, Q, E of the language model)."""
        batch, depth, height, _ = voxels.shape
        patch, grid = self.sizes.patch2d, height // self.sizes.patch2d
        slices = voxels.view(batch * depth, grid, patch, grid, patch).transpose(2, 3).reshape(batch * depth, grid * grid, -1)
        features = self.through(self.vision2d, self.patch2d(slices) + self.positions2d)
        return self.connector2d(features).unflatten(0, (batch, depth))

    def tokens3d(self, voxels):
        """(B, D, H, W) to (B, P, E of the language model)."""
        batch, (gd, gh, gw), (pd, ph, pw) = len(voxels), self.sizes.grid, self.sizes.patch3d
        with torch.no_grad():
            patches = voxels.view(batch, gd, pd, gh, ph, gw, pw).permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, gd * gh * gw, -1)
            tokens = torch.cat((self.class_token.expand(batch, -1, -1), self.patch3d(patches) + self.positions3d), 1)
            tokens = self.through(self.vision3d, tokens)[:, 1:]
            pooled = tokens.view(batch, gd // 2, 2, gh // 2, 2, gw // 2, 2, -1).mean((2, 4, 6)).flatten(1, 3)
        return self.connector3d(pooled)

    def angles(self, length, like):
        half = self.sizes.llm[0] // self.sizes.llm[3] // 2
        frequencies = 1e4 ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
        turns = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * frequencies
        return turns.cos()[:, None].to(like.dtype), turns.sin()[:, None].to(like.dtype)

    def forward(self, voxels, ids, question, places, targets):
        """uint8 voxels (B, D, H, W), ids (B, T) of which those from PREFIX on are replaced by the visual tokens, question ids (B,
        Q), flat places whose next id is a target, and those ids. The summed loss over the targets."""
        voxels = voxels.to(self.positions2d.dtype) / 255
        tokens3d, tokens2d = self.tokens3d(voxels), self.tokens2d(voxels)
        batch, depth, count2d, width = tokens2d.shape
        layers = tokens3d.unflatten(1, (self.sizes.grid[0] // 2, -1))
        count3d = layers.shape[2]
        of_layers = layers.mean(2).repeat_interleave(depth // layers.shape[1], 1)
        slices = (of_layers * count3d + tokens2d.mean(2) * count2d) / (count3d + count2d)
        relevance = (slices @ self.embedding(question).mean(1)[:, :, None]).squeeze(2)
        scores = F.dropout(relevance.softmax(-1, dtype=torch.float32), 0.1).to(tokens2d.dtype)
        best = (scores[:, None] @ tokens2d.flatten(2)).view(batch, count2d, width)
        text = self.embedding(ids)
        visual = torch.cat((tokens3d, best), 1)
        hidden = torch.cat((text[:, :PREFIX], visual, text[:, PREFIX + visual.shape[1] :]), 1)
        hidden = self.norm(self.through(self.llm, hidden, *self.angles(ids.shape[1], hidden)))
        return F.cross_entropy(self.head(hidden.flatten(0, 1)[places]).float(), targets, reduction="sum")


def build(sizes, stage, kind, device):
    """Weights drawn on the device."""
    with torch.device("meta"):
        model = Med2e3(sizes)
    model = model.to(kind).to_empty(device=device)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.02)
            else:
                weight.fill_(1.0 if "norm.weight" in name else 0.0)
    model.requires_grad_(False)
    trained = [model.connector2d, model.connector3d]
    if stage == 2:
        trained += [model.llm, model.norm, model.embedding, model.head, model.patch2d, model.vision2d]
        model.positions2d.requires_grad_(True)
    for part in trained:
        part.requires_grad_(True)
    return model


def micro_batches(sizes, texts, micro, is_one_width, device):
    generator = torch.Generator().manual_seed(1)
    draw = lambda most, *shape: torch.randint(0, most, shape, generator=generator)  # noqa: E731
    lengths = [length_of(index, sizes) for index in range(texts)]
    widest = max(length for length, _ in lengths)
    batches = []
    for first in range(0, texts, micro):
        rows = lengths[first : first + micro]
        width = widest if is_one_width else max(length for length, _ in rows)
        places = [row * width + at for row, (length, count) in enumerate(rows) for at in range(length - 1 - count, length - 1)]
        batch = (
            draw(256, len(rows), *sizes.volume).to(torch.uint8),
            draw(sizes.vocabulary, len(rows), width),
            draw(sizes.vocabulary, len(rows), QUESTION_TOKENS),
            torch.tensor(places),
            draw(sizes.vocabulary, len(places)),
        )
        batches.append([tensor.to(device) for tensor in batch])
    return batches, sum(length for length, _ in lengths)


class MasterAdamW:
    """f32 masters and moments above weights of fewer bits; f32 gradients exist for some weights at a time."""

    AT_ONCE = 24

    def __init__(self, weights, is_cuda):
        self.weights = weights
        self.masters = [weight.detach().float() for weight in weights]
        self.groups = [slice(first, first + self.AT_ONCE) for first in range(0, len(weights), self.AT_ONCE)]
        # f32 weights are their own masters.
        self.optimizers = [torch.optim.AdamW(self.masters[g], lr=5e-5, weight_decay=0.0, fused=is_cuda or None) for g in self.groups]

    @torch.no_grad()
    def step(self):
        for group, optimizer in zip(self.groups, self.optimizers):
            weights, masters = self.weights[group], self.masters[group]
            for weight, master in zip(weights, masters):
                master.grad = None if weight.grad is None else weight.grad.float()
            optimizer.step()
            for weight, master in zip(weights, masters):
                if weight.data_ptr() != master.data_ptr():
                    weight.copy_(master)
                master.grad = weight.grad = None


def measure(args):
    torch.manual_seed(0)
    sizes = {"published": PUBLISHED, "tiny": TINY}[args.sizes]
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[args.precision]
    device = torch.device(args.device)
    is_cuda = device.type == "cuda"
    if args.threads:
        torch.set_num_threads(args.threads)
    wait = torch.cuda.synchronize if is_cuda else lambda: None
    model = build(sizes, args.stage, kind, device)
    if args.compile != "none":
        for blocks in (model.llm, model.vision2d, model.vision3d):
            for index, block in enumerate(blocks):
                blocks[index] = torch.compile(block, dynamic=False, backend=args.compile)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = MasterAdamW(weights, is_cuda)
    batches, tokens = micro_batches(sizes, args.texts, args.micro, args.compile != "none", device)
    targets = sum(len(batch[-1]) for batch in batches)
    seconds, losses = [], []
    for step in range(args.warmup + args.steps):
        wait()
        start = time.perf_counter()
        total = 0.0
        for batch in batches:
            loss = model(*batch) / targets
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        wait()
        if step >= args.warmup:
            seconds.append(time.perf_counter() - start)
        losses.append(float(total))
    step_seconds = statistics.median(seconds)
    return {
        "program": "torch eager" if args.compile == "none" else f"torch compiled by {args.compile}",
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if is_cuda else "cpu",
        "sizes": args.sizes,
        "stage": args.stage,
        "precision": args.precision,
        "texts": args.texts,
        "micro": args.micro,
        "step_seconds": step_seconds,
        "texts_per_second": args.texts / step_seconds,
        "tokens_per_second": tokens / step_seconds,
        "peak_bytes": torch.cuda.max_memory_allocated() if is_cuda else None,
        "losses": losses,
    }


def count():
    """FLOPs of one text of 617 tokens by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    meta = torch.device("meta")
    model = build(PUBLISHED, 2, torch.bfloat16, meta)
    model.recomputes = False
    ids = lambda *shape: torch.zeros(shape, dtype=torch.long, device=meta)  # noqa: E731
    voxels = torch.empty(1, *PUBLISHED.volume, dtype=torch.uint8, device=meta)
    with FlopCounterMode(display=False) as forward:
        loss = model(voxels, ids(1, 617), ids(1, QUESTION_TOKENS), ids(27), ids(27))
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return {
        "tokens": 617,
        "targets": 27,
        "forward": forward.get_total_flops(),
        "backward": backward.get_total_flops(),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "trained": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=["published", "tiny"], default="tiny")
    parser.add_argument("--stage", type=int, choices=[1, 2], default=2)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", choices=["none", "inductor", "eager"], default="none")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--json", help="write the line to this file too")
    args = parser.parse_args()
    line = json.dumps(count() if args.count else measure(args))
    if args.json:
        with open(args.json, "w") as file:
            file.write(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
