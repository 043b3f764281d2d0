"""A tiny BertModel of transformers on right-padded texts: hidden states and pooler output, with and without padding."""

import torch
from transformers import BertConfig, BertModel

from common import prefixed, randomize, write

CONFIG = dict(
    vocab_size=61,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    max_position_embeddings=16,
    type_vocab_size=2,
    layer_norm_eps=1e-12,
)
IDS = [[2, 17, 9, 44, 5, 3, 0, 0, 0], [2, 60, 21, 7, 33, 8, 50, 12, 3], [2, 3, 0, 0, 0, 0, 0, 0, 0]]
MASK = [[1] * 6 + [0] * 3, [1] * 9, [1] * 2 + [0] * 7]


def build(config):
    """Both ways of transformers to compute attention, with the same weights."""
    models = []
    for attention in ["sdpa", "eager"]:
        model = BertModel(BertConfig(**config, attn_implementation=attention)).eval()
        assert model.config._attn_implementation == attention and model.config.hidden_act == "gelu"
        randomize(model, seed=21)
        models.append(model)
    return models


if __name__ == "__main__":
    ids, mask = torch.tensor(IDS), torch.tensor(MASK)
    tensors = {"ids": ids, "mask": mask.bool()}
    with torch.no_grad():
        for name, rows in [("padded", slice(0, 3)), ("full", slice(1, 2))]:
            sdpa, eager = [model(ids[rows], attention_mask=mask[rows]) for model in build(CONFIG)]
            # Rows of padding are of no use to anyone; the two ways may differ there.
            kept = mask[rows].bool()
            assert (sdpa.last_hidden_state - eager.last_hidden_state)[kept].abs().max() < 1e-5
            assert (sdpa.pooler_output - eager.pooler_output).abs().max() < 1e-5
            tensors[f"{name}.hidden"] = eager.last_hidden_state * kept[:, :, None]
            tensors[f"{name}.pooled"] = eager.pooler_output
    state = build(CONFIG)[0].state_dict()
    write(__file__, tensors | prefixed("weights", {f"language_encoder.{k}": v for k, v in state.items()}), config=CONFIG)
