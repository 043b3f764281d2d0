"""M3D-CLIP as a whole, tiny: the vision transformer of m3d_clip.py, transformers' BertModel, both projections and the logit
scale: features, logits, loss and the norm of every gradient, with the scale as it is and with its exponential.

Also writes m3d_clip_tiny/: the same weights as a published folder (config.json, model.safetensors, tokenizer.json).
"""

import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn import functional as F

from bert import CONFIG as TEXT
from bert import IDS, MASK, build
from common import randomize, write
from m3d_clip import CONFIG as VISION
from m3d_clip import VisionTransformer

WORDS = "[PAD] [UNK] [CLS] [SEP] a disc of size the liver spleen is large small . 0 1 2 3 4 5 6 7 8 9".split()


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        width = VISION["hidden_size"]
        self.vision_encoder = VisionTransformer(VISION)
        self.language_encoder = build(TEXT)[0]
        self.mm_vision_proj, self.mm_language_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))

    def image_features(self, voxels):
        class_token = self.vision_encoder.norm(self.vision_encoder.hidden(voxels))[:, 0]
        return F.normalize(self.mm_vision_proj(class_token), dim=-1)

    def text_features(self, ids, mask):
        class_token = self.language_encoder(ids, attention_mask=mask).last_hidden_state[:, 0]
        return F.normalize(self.mm_language_proj(class_token), dim=-1)


def tokenizer():
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(word, WORDS.index(word)) for word in ("[CLS]", "[SEP]")]
    )
    return tokenizer


model = Clip().eval()
randomize(model, seed=31)
with torch.no_grad():
    model.logit_scale.fill_(math.log(1 / 0.07))
voxels = torch.rand(3, 1, *VISION["img_size"], generator=torch.Generator().manual_seed(32))
ids, mask = torch.tensor(IDS), torch.tensor(MASK)
tensors = {"voxels": voxels, "ids": ids, "mask": mask.bool()}
for name, scale in [("released", lambda s: s), ("exp", torch.exp)]:
    model.zero_grad()
    image, text = model.image_features(voxels), model.text_features(ids, mask)
    logits = scale(model.logit_scale) * image @ text.T
    labels = torch.arange(3)
    loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    loss.backward()
    tensors |= {"image": image, "text": text, f"{name}.logits": logits, f"{name}.loss": loss}
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            tensors[f"{name}.norms/{key}"] = parameter.grad.norm()
write(__file__, tensors)

folder = pathlib.Path(__file__).with_name("m3d_clip_tiny")
folder.mkdir(exist_ok=True)
save_file({key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
published = dict(architectures=["M3DCLIP"], model_type="m3d_clip", vocab_size=TEXT["vocab_size"], max_text_len=128)
# What no tensor's shape tells and is not as in bert-base-uncased.
text = dict(text_config=dict(num_attention_heads=TEXT["num_attention_heads"]))
(folder / "config.json").write_text(json.dumps(VISION | published | text, indent=2) + "\n")
(folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer().to_str()), separators=(",", ":")) + "\n")
