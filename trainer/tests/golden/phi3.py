"""Tiny Phi-3 models of transformers, plain and with LongRoPE: final logits and 32 greedy tokens of two prompts."""

import torch
from transformers import Phi3Config, Phi3ForCausalLM

from common import prefixed, randomize, write

SIZES = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=101,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    sliding_window=None,
)
LONGROPE = dict(
    max_position_embeddings=256,
    original_max_position_embeddings=64,
    rope_scaling={"type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.7], "long_factor": [1.0, 2.0, 4.0, 8.0]},
)
PLAIN = dict(max_position_embeddings=64, rope_scaling=None)

tensors, configs = {}, {}
prompts = [torch.tensor([[1, 17, 99, 4, 56]]), torch.tensor([[1, 33, 2, 3, 8, 64, 21, 77, 5]])]
for name, rope in [("plain", PLAIN), ("longrope", LONGROPE)]:
    config = SIZES | rope
    model = Phi3ForCausalLM(
        Phi3Config(**config, bos_token_id=1, eos_token_id=None, pad_token_id=0, tie_word_embeddings=False)
    ).eval()
    randomize(model, seed=3)
    with torch.no_grad():
        for i, ids in enumerate(prompts):
            tensors[f"{name}.ids.{i}"] = ids
            tensors[f"{name}.logits.{i}"] = model(ids).logits
            answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)
            tensors[f"{name}.greedy.{i}"] = answer[0, ids.shape[1] :]
    configs[name] = config
tensors |= prefixed("weights", model.state_dict())
write(__file__, tensors, **configs)
