"""A tiny SiglipVisionModel of transformers on grey slices repeated to three channels."""

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from common import prefixed, randomize, write

config = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    image_size=16,
    patch_size=4,
    num_channels=3,
    layer_norm_eps=1e-6,
)
model = SiglipVisionModel(SiglipVisionConfig(**config)).eval()
randomize(model, seed=5)
slices = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(6))
with torch.no_grad():
    hidden = model(slices[:, None].repeat(1, 3, 1, 1), output_hidden_states=True).hidden_states[-1]
state = {k if k.startswith("vision_model.") else f"vision_model.{k}": v for k, v in model.state_dict().items()}
write(__file__, {"slices": slices, "features": hidden} | prefixed("weights", state), config=config)
