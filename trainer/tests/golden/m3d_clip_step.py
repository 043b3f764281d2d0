"""One step of M3D-CLIP's contrastive training in plain torch: eight pairs in one loss, its gradients by every weight, then one
step of AdamW. Weights are those of m3d_clip_tiny/."""

import pathlib

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from bert import CONFIG as TEXT
from bert import build
from common import write
from m3d_clip import CONFIG as VISION
from m3d_clip import VisionTransformer

PAIRS = 8
RATE, DECAY = 1e-3, 0.1

state = load_file(pathlib.Path(__file__).with_name("m3d_clip_tiny") / "model.safetensors")
model = nn.Module()
model.vision_encoder, model.language_encoder = VisionTransformer(VISION), build(TEXT)[0]
width = VISION["hidden_size"]
model.mm_vision_proj, model.mm_language_proj = nn.Linear(width, width), nn.Linear(width, width)
model.logit_scale = nn.Parameter(torch.tensor(0.0))
model.load_state_dict(state)
model.eval()

generator = torch.Generator().manual_seed(41)
voxels = torch.rand(PAIRS, 1, *VISION["img_size"], generator=generator)
ids = torch.randint(4, TEXT["vocab_size"], (PAIRS, 12), generator=generator)
lengths = torch.tensor([12, 5, 9, 3, 7, 12, 4, 10])
mask = torch.arange(12)[None] < lengths[:, None]
ids = torch.where(mask, ids, 0)

image = model.vision_encoder.norm(model.vision_encoder.hidden(voxels))[:, 0]
image = F.normalize(model.mm_vision_proj(image), dim=-1)
text = model.language_encoder(ids, attention_mask=mask.long()).last_hidden_state[:, 0]
text = F.normalize(model.mm_language_proj(text), dim=-1)
logits = model.logit_scale * image @ text.T
labels = torch.arange(PAIRS)
loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
loss.backward()
tensors = {"voxels": voxels, "ids": ids, "mask": mask, "loss": loss}
learning = {key: p for key, p in model.named_parameters() if p.grad is not None}
tensors |= {f"gradients/{key}": p.grad for key, p in learning.items()}
matrices = [p for p in learning.values() if p.dim() > 1]
others = [p for p in learning.values() if p.dim() <= 1]
groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8).step()
# Some weights of each kind after the step; all would double the file.
after = ["logit_scale", "mm_vision_proj.weight", "mm_language_proj.bias", "vision_encoder.cls_token"]
tensors |= {f"after/{key}": learning[key] for key in after}
print(f"{len(learning)} weights, loss {loss.item():.6f}")
write(__file__, tensors)
