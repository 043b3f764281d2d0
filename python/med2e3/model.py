"""A whole exported model in Python: reads the folder that `med2e3 export` writes with transformers, and answers.

    from med2e3.model import Med2e3

    model = Med2e3.load("exported")
    print(model.answer(volume, "USER: <image3d>\\nWhich plane is shown? ASSISTANT:", question="Which plane is shown?"))

Needs torch, transformers and safetensors. A volume is (1, D, H, W), values in 0..1, prepared as `inputs.json` of the
folder states. Everything is computed in the kind of floats of the exported weights unless `dtype` says otherwise.
"""

import json
import pathlib
import tomllib

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel, SiglipVisionModel

VOLUME_ID = -201


class VisionBlock(nn.Module):
    """Pre-norm attention and MLP of M3D-CLIP's vision transformer."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width, bias=False), "out_proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"linear1": nn.Linear(width, hidden), "linear2": nn.Linear(hidden, width)})

    def forward(self, x):
        rows, tokens, width = x.shape
        qkv = self.attn["qkv"](self.norm1(x)).view(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(rows, tokens, width)
        x = x + self.attn["out_proj"](attended)
        return x + self.mlp["linear2"](F.gelu(self.mlp["linear1"](self.norm2(x))))


class VisionEncoder(nn.Module):
    """M3D-CLIP's vision transformer under its published names."""

    def __init__(self, config, final_norm):
        super().__init__()
        self.patch, width = config["patch_size"], config["hidden_size"]
        self.grid = [size // patch for size, patch in zip(config["img_size"], self.patch)]
        self.final_norm = final_norm
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        pixels = self.patch[0] * self.patch[1] * self.patch[2] * config.get("in_channels", 1)
        self.patch_embedding = nn.Module()
        # Number 0 of the published sequence is the rearrangement into patches.
        self.patch_embedding.patch_embeddings = nn.ModuleDict({"1": nn.Linear(pixels, width)})
        self.patch_embedding.position_embeddings = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1] * self.grid[2], width))
        blocks = (VisionBlock(width, config["num_heads"], config["mlp_dim"]) for _ in range(config["num_layers"]))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)

    def forward(self, volumes):
        """(B, C, D, H, W) to one feature a patch, (B, P, E)."""
        patches = volumes
        for axis, patch in zip((2, 4, 6), self.patch):
            patches = patches.unflatten(axis, (-1, patch))
        patches = patches.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4).flatten(1, 3)
        x = self.patch_embedding.patch_embeddings["1"](patches) + self.patch_embedding.position_embeddings
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return (self.norm(x) if self.final_norm else x)[:, 1:]


class Connector(nn.Module):
    """Average pooling of a grid of patches, then linear maps with exact GELU between them."""

    def __init__(self, kind, grid, state):
        super().__init__()
        name, choices = (kind, {}) if isinstance(kind, str) else next(iter(kind.items()))
        pool = choices.get("pool", [1, 1, 1])
        self.grid, self.pool = grid, [1] * (3 - len(pool)) + pool
        self.pooled = [size // block for size, block in zip(self.grid, self.pool)]
        weights = [state["_connector.weight"]] if name == "linear" else []
        biases = [state["_connector.bias"]] if name == "linear" else []
        for layer in range(choices.get("layers", 0)):
            weights.append(state[f"_connector.{2 * layer}.weight"])
            biases.append(state[f"_connector.{2 * layer}.bias"])
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)

    def forward(self, patches):
        """(B, P, E) to (B, S, E of the language model)."""
        x = patches.transpose(1, 2).unflatten(2, self.grid)
        x = F.avg_pool3d(x, self.pool, self.pool).flatten(2).transpose(1, 2)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = F.linear(F.gelu(x) if layer else x, weight, bias)
        return x


class Med2e3(nn.Module):
    """Encoders, connectors, scorer and language model of an exported folder."""

    @staticmethod
    def load(folder, dtype="auto", device="cpu"):
        return Med2e3(pathlib.Path(folder), dtype).to(device).eval()

    def __init__(self, folder, dtype):
        super().__init__()
        self.folder = folder
        self.config = tomllib.loads((folder / "med2e3.toml").read_text())
        self.variant = self.config["variant"]
        if self.variant["scorer"] == "random" and self.needs_2d:
            raise ValueError("variant.scorer: random draws are those of the program alone")
        self.llm = AutoModelForCausalLM.from_pretrained(folder / "llm", dtype=dtype)
        self.kind = self.llm.dtype
        state = {}
        if (folder / "vision3d_connector").is_dir():
            state = load_file(folder / "vision3d_connector/model.safetensors")
        if (folder / "vision3d_model").is_dir():
            sizes = json.loads((folder / "vision3d_model/config.json").read_text())
            weights = load_file(folder / "vision3d_model/model.safetensors")
            self.encoder3d = VisionEncoder(sizes, self.variant["final_norm"])
            self.encoder3d.load_state_dict(_below("vision_encoder.", weights))
            self.connector3d = Connector(self.variant["connector3d"], self.encoder3d.grid, state)
            self.text_encoder = _text_encoder(sizes, _below("language_encoder.", weights))
        if (folder / "vision2d_model").is_dir():
            self.encoder2d = SiglipVisionModel.from_pretrained(folder / "vision2d_model", dtype=dtype)
            side = self.encoder2d.config.image_size // self.encoder2d.config.patch_size
            weights = load_file(folder / "vision2d_connector/model.safetensors")
            self.connector2d = Connector(self.variant["connector2d"], [1, side, side], weights)
        self.scorer = nn.ParameterDict({key.replace(".", "_"): value for key, value in state.items() if not key.startswith("_")})
        self.to(self.kind)

    @property
    def needs_2d(self):
        return self.variant["visual_tokens"] != "vision3d"

    def visual(self, volumes, question_ids):
        """The visual tokens (B, S, E) of volumes (B, 1, D, H, W) and the scores (B, N) of their slices; `question_ids` is a list of
        ids for each volume."""
        volumes = volumes.to(self.kind)
        tokens3d = self.connector3d(self.encoder3d(volumes)) if hasattr(self, "encoder3d") else None
        if not self.needs_2d:
            return tokens3d, torch.zeros(len(volumes), 0)
        count, slices = len(volumes), volumes.shape[2]
        pictures = volumes.transpose(1, 2).reshape(count * slices, 1, *volumes.shape[3:]).expand(-1, 3, -1, -1)
        if self.variant["slice_norm"] == "siglip":
            pictures = 2 * pictures - 1
        hidden = self.encoder2d(pictures, output_hidden_states=True).hidden_states[-1]
        tokens2d = self.connector2d(hidden).unflatten(0, (count, slices))
        aggregate = self.variant["aggregate"]
        if aggregate in ("mean", "max"):
            scores = torch.full((count, slices), 1 / slices)
            one = tokens2d.mean(1) if aggregate == "mean" else tokens2d.amax(1)
        else:
            scores = weights = self.scores(tokens3d, tokens2d, question_ids)
            if aggregate != "scores":
                best = scores.topk(aggregate["top_k"], 1).indices
                weights = torch.zeros_like(scores).scatter(1, best, 1 / aggregate["top_k"])
            one = (weights.to(tokens2d.dtype)[:, :, None, None] * tokens2d).sum(1)
        return one if self.variant["visual_tokens"] == "vision2d" else torch.cat([tokens3d, one], 1), scores

    def scores(self, tokens3d, tokens2d, question_ids):
        """How much each slice counts, (B, N), f32."""
        count, slices = tokens2d.shape[:2]
        scorer, local = self.variant["scorer"], self.variant["local_feature"]
        if scorer == "uniform":
            return torch.full((count, slices), 1 / slices)
        if scorer == "gauss":
            offsets = torch.arange(slices).float() - (slices - 1) / 2
            return (-(offsets**2) / (2 * (slices / 6) ** 2)).softmax(0).expand(count, -1)
        features = []
        if local != "vision2d":
            depth = self.connector3d.pooled[0]
            features.append(tokens3d.unflatten(1, (depth, -1)).repeat_interleave(slices // depth, dim=1))
        if local != "vision3d":
            features.append(tokens2d)
        features = torch.cat(features, 2).mean(2)
        if scorer == "linear":
            relevance = F.linear(features, self.scorer["scoring_module_weight"], self.scorer["scoring_module_bias"])[:, :, 0]
        else:
            text = torch.stack([self.question_feature(ids) for ids in question_ids])
            relevance = torch.bmm(features, text[:, :, None])[:, :, 0] / self.variant["temperature"]
        return relevance.float().softmax(-1)

    def question_feature(self, ids):
        ids = torch.tensor([ids], device=self.llm.device)
        if self.variant["text_feature"] == "llm_embedding":
            return self.llm.get_input_embeddings()(ids)[0].mean(0)
        pooled = self.text_encoder(ids).pooler_output[0]
        return F.linear(pooled, self.scorer["text_mlp_weight"], self.scorer["text_mlp_bias"])

    @torch.no_grad()
    def embeddings(self, volumes, ids, question_ids):
        """One row (1, T, E): the ids' embeddings, each `VOLUME_ID` replaced by the next volume's visual tokens."""
        visual, scores = self.visual(volumes, [question_ids] * len(volumes)) if len(volumes) else ([], torch.zeros(0, 0))
        visual, embed = iter(visual), self.llm.get_input_embeddings()
        rows, text = [], []
        for id in ids + [None]:
            if id is not None and id != VOLUME_ID:
                text.append(id)
                continue
            if text:
                rows.append(embed(torch.tensor(text, device=self.llm.device)))
                text = []
            if id is not None:
                rows.append(next(visual))
        return torch.cat(rows)[None], scores

    @torch.no_grad()
    def logits(self, volumes, ids, question_ids):
        """Logits (T, V) of one row of ids, at the positions of the spliced row."""
        return self.llm(inputs_embeds=self.embeddings(volumes, ids, question_ids)[0]).logits[0].float()

    @torch.no_grad()
    def answer(self, volume, prompt, question, max_new_tokens=256):
        """The answer to a laid-out prompt, in which `<image3d>` stands for the volume (1, D, H, W)."""
        tokenizer = AutoTokenizer.from_pretrained(self.folder)
        text = self.folder / "text_tokenizer.json"
        ids, start = [], tokenizer.bos_token_id
        encode = lambda words: tokenizer(words, add_special_tokens=False).input_ids
        for number, words in enumerate(prompt.split("<image3d>")):
            ids += [VOLUME_ID] * (number > 0) + encode(words)
        stated = self.folder / "inputs.json"
        if stated.is_file() and (json.loads(stated.read_text()).get("text") or {}).get("start_token") is not None:
            ids = [start] + ids
        if self.variant["text_feature"] == "m3d_clip" and text.is_file():
            from tokenizers import Tokenizer

            question_ids = Tokenizer.from_file(str(text)).encode(question).ids
        else:
            question_ids = encode(question)
        embeddings, _ = self.embeddings(volume[None], ids, question_ids)
        mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
        new = self.llm.generate(inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False)
        return tokenizer.decode(new[0], skip_special_tokens=True).strip()


def _below(prefix, weights):
    return {name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _text_encoder(sizes, weights):
    """M3D-CLIP's BERT, where the variant has it; its sizes are those of its weights."""
    if not weights:
        return None
    words, positions, types = (weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layer.")}
    stated = sizes.get("text_config", {})
    config = BertConfig(
        vocab_size=len(words), hidden_size=words.shape[1], num_hidden_layers=len(layers),
        num_attention_heads=stated.get("num_attention_heads", words.shape[1] // 64),
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.weight"]),
        max_position_embeddings=len(positions), type_vocab_size=len(types),
        layer_norm_eps=stated.get("layer_norm_eps", 1e-12),
    )
    encoder = BertModel(config)
    encoder.load_state_dict(weights)
    return encoder
