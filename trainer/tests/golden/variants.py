"""Every named variant, every connector, training steps and answers of the whole model, all from one set of weights: plain
torch around transformers' Phi-3, SigLIP and BERT and the vision transformer of m3d_clip.py.

Weights and voxels are rounded to bf16 first and stored so; everything is computed in f32. One batch serves for all: a row
with two volumes, one with the volume in the middle, one at the end, one without, and one that is cut.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, Phi3Config, Phi3ForCausalLM, SiglipVisionConfig, SiglipVisionModel

from common import randomize, write
from m3d_clip import VisionTransformer

LLM = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=61, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=256,
    sliding_window=None, rope_scaling=None,
)
# As wide as the encoders, for connectors that change nothing.
NARROW_LLM = LLM | dict(hidden_size=24, intermediate_size=32, num_hidden_layers=1)
VISION2D = dict(
    hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=8,
    num_channels=3, layer_norm_eps=1e-6,
)
VISION3D = dict(
    img_size=[8, 16, 16], patch_size=[2, 4, 4], hidden_size=24, mlp_dim=40, num_layers=2, num_heads=3, in_channels=1
)
TEXT = dict(
    vocab_size=41, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40,
    max_position_embeddings=8, type_vocab_size=2, layer_norm_eps=1e-12,
)
SLICES, WIDTH, MAX_LENGTH = 8, 24, 30
PARTS = ["llm", "vision2d_model", "vision2d_connector", "vision3d_model", "vision3d_connector"]

V, X = -201, -100
IDS = [
    [V, 5, 6, V, 7, 8, 9, 10, 2],
    [1, 30, 31, V, 11, 12, 13, 2],
    [14, 15, 16, 17, V],
    [18, 19, 20, 21, 22],
    [1, V, *range(23, 49)],
]
LABELS = [
    [X, X, 6, X, 7, X, 9, 10, 2],
    [X, 30, X, X, 11, X, 13, 2],
    [X, X, 16, 17, X],
    # No token comes before the first, so it is no target whatever its label says.
    [18, 19, X, 21, 22],
    [X, X, *range(23, 49)],
]
QUESTIONS = [[7, 8, 9], [11, 12], [14, 15, 16, 17], [18], [23, 24]]
BERT_QUESTIONS = [[2, 17, 9, 3], [2, 30, 3], [2, 8, 21, 40, 11, 3], [2, 3], [2, 25, 26, 3]]

PAPER = dict(
    text="llm", local="both", scorer="text", aggregate="scores", tokens="both", temperature=1.0, final_norm=False,
    max_length=MAX_LENGTH,
)
RELEASED = PAPER | dict(text="bert", temperature=5.0)
VARIANTS = {
    "paper": PAPER,
    "released": RELEASED,
    "vision3d_only": PAPER | dict(tokens="3d"),
    "vision2d_only": PAPER | dict(tokens="2d", local="2d"),
    "mean": PAPER | dict(aggregate="mean"),
    "max": PAPER | dict(aggregate="max"),
    "gauss": PAPER | dict(scorer="gauss"),
    "top3": PAPER | dict(aggregate="top3"),
    "linear_both": PAPER | dict(scorer="linear"),
    "linear_3d": PAPER | dict(scorer="linear", local="3d"),
    "linear_2d": PAPER | dict(scorer="linear", local="2d"),
    "text_3d": PAPER | dict(local="3d"),
    "text_2d": PAPER | dict(local="2d"),
    "released_3d": RELEASED | dict(local="3d"),
    "released_2d": RELEASED | dict(local="2d"),
    "m3d_lamed": PAPER | dict(tokens="3d", final_norm=True),
}
# Block of 3D patches, square of 2D patches, linear maps of either connector.
PUBLISHED = dict(pool3d=(2, 2, 2), layers3d=2, pool2d=(1, 1), layers2d=2)
CONNECTORS = {
    "plane_pooling": PUBLISHED | dict(pool2d=(2, 2)),
    "spatial_block": PUBLISHED | dict(pool3d=(1, 2, 4), layers3d=1),
    "mlp_1": dict(pool3d=(1, 1, 1), layers3d=1, pool2d=(1, 1), layers2d=1),
    "mlp_3": dict(pool3d=(1, 1, 1), layers3d=3, pool2d=(1, 1), layers2d=3),
    "linear": dict(pool3d=(1, 1, 1), layers3d=1, pool2d=(1, 1), layers2d=1),
    "identity": dict(pool3d=(1, 1, 1), layers3d=0, pool2d=(1, 1), layers2d=0),
}
# Unpooled, a volume takes 64 and 4 tokens.
LONG = 150


class Llm(Phi3ForCausalLM):
    def __init__(self, sizes):
        super().__init__(Phi3Config(**sizes, bos_token_id=1, eos_token_id=None, pad_token_id=0, tie_word_embeddings=False))


class Named(nn.Module):
    """Modules under the names that their part publishes."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


def mlp(layers, width):
    maps = [nn.Linear(WIDTH if i == 0 else width, width) for i in range(layers)]
    return nn.Sequential(*[module for i, linear in enumerate(maps) for module in ([nn.GELU()] if i else []) + [linear]])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        width = LLM["hidden_size"]
        self.llm = Llm(LLM)
        self.vision2d_model = SiglipVisionModel(SiglipVisionConfig(**VISION2D, vision_use_head=False))
        self.vision2d_connector = Named(_connector=mlp(2, width))
        self.vision3d_model = Named(
            vision_encoder=VisionTransformer(VISION3D), language_encoder=BertModel(BertConfig(**TEXT))
        )
        self.vision3d_connector = Named(
            _connector=mlp(2, width), text_mlp=nn.Linear(TEXT["hidden_size"], width), scoring_module=nn.Linear(width, 1)
        )

    def tokens(self, voxels, shape, final_norm):
        """3D tokens (volumes, depth, rest, E) and 2D tokens (volumes, slices, Q, E)."""
        count = len(voxels)
        grid = self.vision3d_model.vision_encoder(voxels, final_norm).transpose(1, 2).view(count, WIDTH, 4, 4, 4)
        pooled = F.avg_pool3d(grid, shape["pool3d"], shape["pool3d"])
        tokens3d = self.vision3d_connector._connector(pooled.flatten(2).transpose(1, 2))
        slices = voxels.transpose(1, 2).reshape(count * SLICES, 1, 16, 16).expand(-1, 3, -1, -1)
        hidden = self.vision2d_model(slices, output_hidden_states=True).hidden_states[-1]
        grid = hidden.transpose(1, 2).view(count * SLICES, WIDTH, 2, 2)
        pooled = F.avg_pool2d(grid, shape["pool2d"], shape["pool2d"])
        tokens2d = self.vision2d_connector._connector(pooled.flatten(2).transpose(1, 2))
        return tokens3d.unflatten(1, (pooled_depth(shape), -1)), tokens2d.unflatten(0, (count, SLICES))

    def question_features(self, kind):
        rows = QUESTIONS if kind == "llm" else BERT_QUESTIONS
        ids, mask = padded(rows)
        if kind == "llm":
            embeddings = self.llm.get_input_embeddings()(ids) * mask[:, :, None]
            return embeddings.sum(1) / mask.sum(1)[:, None]
        return self.vision3d_connector.text_mlp(self.vision3d_model.language_encoder(ids, mask).pooler_output)

    def scores(self, variant, tokens3d, tokens2d):
        count, depth = tokens3d.shape[:2]
        if variant["scorer"] == "gauss":
            places = torch.arange(SLICES).float()
            bell = torch.exp(-((places - (SLICES - 1) / 2) ** 2) / (2 * (SLICES / 6) ** 2))
            return (bell / bell.sum()).expand(count, -1)
        of_slices = tokens3d.repeat_interleave(SLICES // depth, dim=1)
        local = {"3d": [of_slices], "2d": [tokens2d], "both": [of_slices, tokens2d]}[variant["local"]]
        local = torch.cat(local, 2).mean(2)
        if variant["scorer"] == "linear":
            return self.vision3d_connector.scoring_module(local)[:, :, 0].softmax(-1)
        rows = [row for row, ids in enumerate(IDS) for id in ids if id == V]
        features = self.question_features(variant["text"])[rows]
        return (torch.bmm(local, features[:, :, None])[:, :, 0] / variant["temperature"]).softmax(-1)

    def visual(self, variant, shape, voxels):
        tokens3d, tokens2d = self.tokens(voxels, shape, variant["final_norm"])
        if variant["tokens"] == "3d":
            return tokens3d.flatten(1, 2), torch.zeros(len(voxels), 0)
        if variant["aggregate"] in ("mean", "max"):
            scores = torch.full((len(voxels), SLICES), 1 / SLICES)
            one = tokens2d.mean(1) if variant["aggregate"] == "mean" else tokens2d.max(1)[0]
        else:
            scores = weights = self.scores(variant, tokens3d, tokens2d)
            if variant["aggregate"] == "top3":
                weights = torch.zeros_like(scores).scatter(1, scores.topk(3, 1).indices, 1 / 3)
            one = (weights[:, :, None, None] * tokens2d).sum(1)
        return one if variant["tokens"] == "2d" else torch.cat([tokens3d.flatten(1, 2), one], 1), scores

    def rows(self, visual):
        """Each row's embeddings and labels, the visual tokens in their places."""
        visual = iter(visual)
        embed = self.llm.get_input_embeddings()
        for ids, labels in zip(IDS, LABELS):
            parts, spliced = [], []
            for id, label in zip(ids, labels):
                parts.append(next(visual) if id == V else embed(torch.tensor([id])))
                spliced += [X] * len(parts[-1]) if id == V else [label]
            yield torch.cat(parts), torch.tensor(spliced)

    def forward(self, variant, shape, voxels):
        visual, scores = self.visual(variant, shape, voxels)
        rows = [(row[: variant["max_length"]], labels[: variant["max_length"]]) for row, labels in self.rows(visual)]
        embeddings = nn.utils.rnn.pad_sequence([row for row, _ in rows], batch_first=True)
        labels = nn.utils.rnn.pad_sequence([labels for _, labels in rows], batch_first=True, padding_value=X)
        mask = torch.arange(embeddings.shape[1])[None] < torch.tensor([len(row) for row, _ in rows])[:, None]
        logits = self.llm(inputs_embeds=embeddings, attention_mask=mask.long()).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=X)
        return loss, scores, visual, (labels[:, 1:] != X).sum()


def pooled_depth(shape):
    return 4 // shape["pool3d"][0]


def padded(rows, value=0):
    width = max(map(len, rows))
    ids = torch.tensor([row + [value] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def round_to_bf16(module, seed, std=0.15):
    randomize(module, seed, std)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.bfloat16())


def published(part, name):
    if part != "vision2d_model" or name.startswith("vision_model."):
        return f"{part}/{name}"
    return f"{part}/vision_model.{name}"


def weights(module, parts=PARTS):
    names = {}
    for name, parameter in module.named_parameters():
        part, rest = name.split(".", 1)
        if part in parts:
            names[published(part, rest)] = parameter.detach().bfloat16()
    return names


def norms(model):
    for part in PARTS:
        grads = [p.grad for p in getattr(model, part).parameters() if p.grad is not None]
        if grads:
            yield part, torch.stack([grad.norm() for grad in grads]).norm()


def case(tensors, name, model, variant, shape, voxels):
    model.zero_grad()
    loss, scores, visual, targets = model(variant, shape, voxels)
    loss.backward()
    tensors |= {f"{name}.loss": loss, f"{name}.scores": scores, f"{name}.targets": targets}
    # One number a token, in which all of its width has a share.
    tensors[f"{name}.visual"] = visual @ torch.arange(visual.shape[2]).float().cos()
    tensors |= {f"{name}.norm.{part}": norm for part, norm in norms(model)}
    spread = "" if scores.shape[1] == 0 else f"scores {scores.min():.4f} to {scores.max():.4f}"
    print(f"{name:14} loss {loss:.4f} targets {targets} visual {list(visual.shape)}", spread)


def train(tensors, model, voxels):
    """Three steps of everything; what has one axis does not decay."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    kept = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": kept, "weight_decay": 0.0}], lr=1e-3
    )
    for step in range(4):
        optimizer.zero_grad()
        loss = model(PAPER, PUBLISHED, voxels)[0]
        tensors[f"train.loss.{step}"] = loss
        loss.backward()
        tensors[f"train.norm.{step}"] = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        print("step", step, f"loss {loss:.5f} norm {tensors[f'train.norm.{step}']:.4f}")
        optimizer.step()


def answers(tensors, model, voxels):
    """Greedy tokens behind each row, alone, by transformers' own loop."""
    smallest = float("inf")
    with torch.no_grad():
        visual, _ = model.visual(PAPER, PUBLISHED, voxels)
        for row, (embeddings, _) in enumerate(model.rows(visual)):
            answer = model.llm.generate(
                inputs_embeds=embeddings[None], attention_mask=torch.ones(1, len(embeddings)).long(), max_new_tokens=64,
                do_sample=False, return_dict_in_generate=True, output_logits=True,
            )
            best = torch.cat(answer.logits).topk(2, -1).values
            smallest = min(smallest, (best[:, 0] - best[:, 1]).min().item())
            tensors[f"greedy.{row}"] = answer.sequences[0]
            assert len(answer.sequences[0]) == 64
    print(f"smallest lead of a chosen token {smallest:.5f}")
    # Two orders of summation must not choose differently.
    assert smallest > 1e-4


model = Model().eval()
round_to_bf16(model, seed=41)
# Slices that differ in brightness and maps that amplify it, so that scores are far from uniform.
for seed, part in enumerate(["vision2d_connector", "vision3d_connector"], 42):
    round_to_bf16(getattr(model, part), seed, std=0.3)
generator = torch.Generator().manual_seed(44)
voxels = torch.rand(5, 1, *VISION3D["img_size"], generator=generator) * torch.rand(5, 1, SLICES, 1, 1, generator=generator)
voxels = voxels.bfloat16().float()
(ids, mask), (labels, _) = padded(IDS), padded(LABELS, X)
tensors = {"voxels": voxels.bfloat16(), "ids": ids, "labels": labels, "lengths": mask.sum(1)}
for name, rows in [("question", QUESTIONS), ("bert_question", BERT_QUESTIONS)]:
    question_ids, question_mask = padded(rows)
    tensors |= {f"{name}_ids": question_ids, f"{name}_mask": question_mask.bool()}
tensors |= {f"weights/{name}": tensor for name, tensor in weights(model).items()}

for name, variant in VARIANTS.items():
    case(tensors, name, model, variant, PUBLISHED, voxels)
answers(tensors, model, voxels)

usual = {part: getattr(model, part) for part in PARTS}
for seed, (name, shape) in enumerate(CONNECTORS.items(), 50):
    model.llm = usual["llm"]
    if name == "identity":
        model.llm = Llm(NARROW_LLM).eval()
        round_to_bf16(model.llm, seed=49)
    width = model.llm.config.hidden_size
    for part, layers in [("vision2d_connector", shape["layers2d"]), ("vision3d_connector", shape["layers3d"])]:
        if (name, part) in [("plane_pooling", "vision3d_connector"), ("spatial_block", "vision2d_connector")]:
            setattr(model, part, usual[part])
            continue
        connector = mlp(layers, width)
        setattr(model, part, Named(_connector=connector[0] if name == "linear" else connector))
        round_to_bf16(getattr(model, part), seed, std=0.3)
    own = [part for part in PARTS if getattr(model, part) is not usual[part]]
    tensors |= {f"{name}.weights/{key}": tensor for key, tensor in weights(model, own).items()}
    case(tensors, name, model, PAPER | dict(max_length=LONG), shape, voxels)

for part in PARTS:
    setattr(model, part, usual[part])
train(tensors, model, voxels)
write(
    __file__, tensors, llm=LLM, narrow_llm=NARROW_LLM, vision2d=VISION2D, vision3d=VISION3D, text=TEXT,
    max_length=MAX_LENGTH, long=LONG,
)
