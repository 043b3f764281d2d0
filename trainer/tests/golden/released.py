"""A tiny Med-2E3 in the layout that the released code saves (`released/`), and what it computes (`released/reference.safetensors`):
plain torch around transformers' Phi-3 with LongRoPE, SigLIP with its pooling head, and a whole M3D-CLIP."""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, Phi3Config, Phi3ForCausalLM, SiglipVisionConfig, SiglipVisionModel

from common import randomize
from m3d_clip import VisionTransformer

FOLDER = pathlib.Path(__file__).with_name("released")
FACTORS = dict(short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.0, 2.0, 4.0, 8.0])
LLM = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
    vocab_size=61, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=256, sliding_window=262144,
    original_max_position_embeddings=16, rope_scaling={"type": "longrope"} | FACTORS, tie_word_embeddings=False,
    bos_token_id=1, eos_token_id=2, pad_token_id=2,
)
VISION2D = dict(
    hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=8,
)
VISION3D = dict(
    img_size=[8, 16, 16], patch_size=[2, 4, 4], hidden_size=24, mlp_dim=40, num_layers=2, num_heads=3, in_channels=1
)
TEXT = dict(
    vocab_size=41, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40,
    max_position_embeddings=16, type_vocab_size=2,
)
SLICES, X = 8, -100
IDS = torch.tensor([[1, -201, 7, 8, 9, 10, 2], [1, 5, -201, 11, 12, 2, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0]])
LABELS = torch.tensor([[X, X, X, 8, 9, 10, 2], [X, X, X, 11, 12, 2, X]])
QUESTION = torch.tensor([[2, 17, 9, 30, 3], [2, 8, 3, 0, 0]])
QUESTION_MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.vision_encoder = VisionTransformer(VISION3D)
        self.language_encoder = BertModel(BertConfig(**TEXT))
        self.mm_vision_proj, self.mm_language_proj = nn.Linear(24, 24), nn.Linear(24, 24)
        self.logit_scale = nn.Parameter(torch.tensor(2.659))


class Connector(nn.Module):
    def __init__(self, has_text):
        super().__init__()
        self._connector = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 32))
        if has_text:
            self.text_mlp = nn.Linear(24, 32)


llm = Phi3ForCausalLM(Phi3Config(**LLM)).eval()
vision2d = SiglipVisionModel(SiglipVisionConfig(**VISION2D)).eval()
vision3d, connector2d, connector3d = Clip().eval(), Connector(False), Connector(True)
PARTS = {
    "llm": llm, "vision2d_model": vision2d, "vision2d_connector": connector2d, "vision3d_model": vision3d,
    "vision3d_connector": connector3d,
}
for seed, module in enumerate(PARTS.values(), 60):
    randomize(module, seed, std=0.3 if isinstance(module, Connector) else 0.15)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.bfloat16())

generator = torch.Generator().manual_seed(70)
voxels = torch.rand(2, 1, *VISION3D["img_size"], generator=generator) * torch.rand(2, 1, SLICES, 1, 1, generator=generator)
grid = vision3d.vision_encoder(voxels, False).transpose(1, 2).view(2, 24, 4, 4, 4)
z3d = connector3d._connector(F.avg_pool3d(grid, 2, 2).flatten(2).transpose(1, 2))
slices = voxels.transpose(1, 2).reshape(2 * SLICES, 1, 16, 16).expand(-1, 3, -1, -1)
hidden = vision2d(slices, output_hidden_states=True).hidden_states[-1]
z2d = connector2d._connector(hidden).view(2, SLICES, -1, 32)
text = connector3d.text_mlp(vision3d.language_encoder(QUESTION, QUESTION_MASK).pooler_output)
local = torch.cat([z3d.view(2, 2, -1, 32).repeat_interleave(SLICES // 2, dim=1), z2d], 2).mean(2)
scores = (torch.bmm(local, text[:, :, None])[:, :, 0] / 5).softmax(-1)
visual = torch.cat([z3d, (scores[:, :, None, None] * z2d).sum(1)], 1)

embed, rows, labels = llm.get_input_embeddings(), [], []
for b in range(2):
    ids, at = IDS[b][MASK[b] == 1], IDS[b].tolist().index(-201)
    rows.append(torch.cat([embed(ids[:at]), visual[b], embed(ids[at + 1 :])]))
    label = LABELS[b][MASK[b] == 1].tolist()
    labels.append(torch.tensor(label[:at] + [X] * visual.shape[1] + label[at + 1 :]))
embeds = nn.utils.rnn.pad_sequence(rows, batch_first=True)
spliced = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=X)
mask = torch.arange(embeds.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
logits = llm(inputs_embeds=embeds, attention_mask=mask.long()).logits
loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), spliced[:, 1:].flatten(), ignore_index=X)
loss.backward()


def norm(module):
    return torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()


def state(name, module):
    named = {k: v.detach().bfloat16() for k, v in module.named_parameters()}
    # What transformers 4, which the released code runs on, calls them.
    return {k if name != "vision2d_model" or k.startswith("vision_model.") else f"vision_model.{k}": v for k, v in named.items()}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


for name, module in PARTS.items():
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    torch.save(state(name, module), FOLDER / name / "pytorch_model.bin")
(FOLDER / "args").mkdir(exist_ok=True)
m3d_clip = VISION3D | dict(
    model_type="m3d_clip", pos_embed="perceptron", dropout_rate=0, spatial_dims=3, max_text_len=128,
    vocab_size=TEXT["vocab_size"], text_config=dict(model_type="bert", num_attention_heads=TEXT["num_attention_heads"]),
)
siglip = VISION2D | dict(model_type="siglip_vision_model")
write_json(FOLDER / "llm/config.json", LLM | dict(model_type="phi3", hidden_act="silu"))
write_json(FOLDER / "vision3d_model/config.json", m3d_clip)
# Only here are SigLIP's sizes.
write_json(
    FOLDER / "args/config.json",
    dict(
        exp_id=4, llm_type="phi3", llm_max_length=768, llm_config=LLM | dict(model_type="phi3"),
        vision2d_model_config=siglip, vision2d_connector_type="mlp2x_gelu", vision3d_model_config=m3d_clip,
        vision3d_connector_type="spatial_pooling_score15_mlp2x_gelu",
    ),
)
tensors = {
    "input.volume": voxels, "input.ids": IDS, "input.mask": MASK, "input.labels": LABELS,
    "input.question_ids": QUESTION, "input.question_mask": QUESTION_MASK, "expect.z3d": z3d, "expect.z2d": z2d,
    "expect.scores": scores, "expect.visual": visual, "expect.logits": logits, "expect.logits_mask": mask,
    "expect.loss": loss,
} | {f"expect.grad_norm.{name}": norm(module) for name, module in PARTS.items()}
save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, FOLDER / "reference.safetensors")
print("scores", scores.detach(), "loss", loss.item(), "spliced", embeds.shape)
