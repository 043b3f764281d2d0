"""Tiny language models of transformers: last logits, loss and greedy tokens of two prompts, in both spellings of configs."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM

from common import prefixed, randomize, write

SIZES = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=101, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=None, pad_token_id=0,
)
FACTORS = dict(short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.0, 2.0, 4.0, 8.0])
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32,
    rope_theta=500000.0,
)


def ids(length, seed):
    return torch.randint(3, 101, (1, length), generator=torch.Generator().manual_seed(seed))


SHORT = [torch.tensor([[1, 17, 99, 4, 56]]), torch.tensor([[1, 33, 2, 3, 8, 64, 21, 77, 5]])]
PHI3, LLAMA, QWEN2 = (Phi3Config, Phi3ForCausalLM), (LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2ForCausalLM)
CASES = {
    "plain": (PHI3, dict(max_position_embeddings=128, sliding_window=None), SHORT),
    # The greedy answers grow past the 32 tokens up to which the short factors hold.
    "longrope": (
        PHI3,
        dict(max_position_embeddings=256, original_max_position_embeddings=32, rope_scaling={"type": "longrope"} | FACTORS),
        SHORT + [ids(31, 1), ids(32, 2), ids(80, 3)],
    ),
    "longrope_4096": (
        PHI3,
        dict(max_position_embeddings=131072, original_max_position_embeddings=4096, sliding_window=262144,
             rope_scaling={"type": "longrope"} | FACTORS),
        [ids(60, 4), ids(4200, 5)],
    ),
    "window": (PHI3, dict(max_position_embeddings=128, sliding_window=7), SHORT + [ids(40, 6)]),
    "llama": (LLAMA, dict(max_position_embeddings=256, rope_parameters=LLAMA3), SHORT + [ids(50, 7)]),
    "llama_head_dim": (LLAMA, dict(max_position_embeddings=128, head_dim=12, rope_theta=1000.0), SHORT),
    "qwen2": (QWEN2, dict(max_position_embeddings=128, tie_word_embeddings=True), SHORT),
}

tensors, configs = {}, {}
for name, ((Config, Model), fields, prompts) in CASES.items():
    given = dict(tie_word_embeddings=False) | SIZES | fields
    config = Config(**given)
    model = Model(config).eval()
    randomize(model, seed=3)
    # The published spelling, as it was given, and that of transformers 5, as it is written.
    published = given | {"model_type": config.model_type, "hidden_act": config.hidden_act}
    configs[name], configs[name + ".written"] = published, config.to_dict()
    state = {k: v for k, v in model.state_dict().items() if not (config.tie_word_embeddings and k == "lm_head.weight")}
    # The Phi-3s differ in their positions alone.
    tensors |= prefixed(("phi3" if Model is Phi3ForCausalLM else name) + ".weights", state)
    for i, prompt in enumerate(prompts):
        with torch.no_grad():
            output = model(prompt, labels=prompt)
            tensors[f"{name}.ids.{i}"] = prompt.to(torch.int32)
            tensors[f"{name}.logits.{i}"] = output.logits[:, -4:].contiguous()
            tensors[f"{name}.loss.{i}"] = output.loss
            new = 64 if prompt.shape[1] < 1000 else 8
            answer = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, do_sample=False)
            tensors[f"{name}.greedy.{i}"] = answer[0, prompt.shape[1] :].to(torch.int32)
            for penalty in (1.0, 0.3) if new == 64 else ():
                stop = int(answer[0, prompt.shape[1] + 5])
                beams = model.generate(
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, num_beams=4, do_sample=False,
                    eos_token_id=stop, length_penalty=penalty,
                )
                tensors[f"{name}.beam_{penalty}.{i}"] = beams[0, prompt.shape[1] :].to(torch.int32)
                tensors[f"{name}.stop.{i}"] = torch.tensor(stop, dtype=torch.int32)
        bf16 = Model(config).eval()
        bf16.load_state_dict(model.state_dict())
        with torch.no_grad():
            tensors[f"{name}.logits_bf16.{i}"] = bf16.to(torch.bfloat16)(prompt).logits[:, -4:].float().contiguous()
write(__file__, tensors, **configs)
