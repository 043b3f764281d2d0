"""Windows of attention by family and by spelling of config.json: last logits and greedy tokens of transformers, which reads
each config.json from disk, with the weights of language_models.safetensors."""

import json
import pathlib
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from common import write

BASE = load_file(pathlib.Path(__file__).with_name("language_models.safetensors"))
SIZES = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=101, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=None, pad_token_id=0, hidden_act="silu",
    max_position_embeddings=128, rope_theta=10000.0,
)
ARCHITECTURES = dict(
    phi3=("Phi3ForCausalLM", "phi3"), llama=("LlamaForCausalLM", "llama"), mistral=("MistralForCausalLM", "llama"),
    qwen2=("Qwen2ForCausalLM", "qwen2"),
)
FULL, SLIDING = "full_attention", "sliding_attention"
ON = dict(use_sliding_window=True, sliding_window=6)
CASES = {
    "phi3_absent": ("phi3", {}),
    "phi3_null": ("phi3", dict(sliding_window=None)),
    "phi3_6": ("phi3", dict(sliding_window=6)),
    "llama_absent": ("llama", {}),
    "llama_6": ("llama", dict(sliding_window=6)),
    "llama_all": ("llama", dict(sliding_window=6, use_sliding_window=True, max_window_layers=0)),
    "mistral_absent": ("mistral", {}),
    "mistral_null": ("mistral", dict(sliding_window=None)),
    "mistral_6": ("mistral", dict(sliding_window=6)),
    "qwen2_absent": ("qwen2", {}),
    "qwen2_off": ("qwen2", dict(use_sliding_window=False, sliding_window=6, max_window_layers=0)),
    "qwen2_no_flag": ("qwen2", dict(sliding_window=6, max_window_layers=0)),
    "qwen2_no_layers": ("qwen2", ON),
    "qwen2_null": ("qwen2", ON | dict(sliding_window=None, max_window_layers=0)),
    "qwen2_no_window": ("qwen2", dict(use_sliding_window=True, max_window_layers=0)),
    "qwen2_from_0": ("qwen2", ON | dict(max_window_layers=0)),
    "qwen2_from_1": ("qwen2", ON | dict(max_window_layers=1)),
    "qwen2_from_2": ("qwen2", ON | dict(max_window_layers=2)),
    "qwen2_types_full": ("qwen2", ON | dict(max_window_layers=0, layer_types=[FULL, FULL])),
    "qwen2_types_first": ("qwen2", ON | dict(layer_types=[SLIDING, FULL])),
    "qwen2_types_last": ("qwen2", ON | dict(max_window_layers=0, layer_types=[FULL, SLIDING])),
}
# Of transformers 5: positions in an object of their own.
for name in ("phi3_6", "mistral_6", "qwen2_from_1"):
    family, fields = CASES[name]
    CASES[name + "_newer"] = (family, fields | dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0)))

IDS = torch.randint(3, 101, (1, 20), generator=torch.Generator().manual_seed(11))
tensors, configs = {"ids": IDS.to(torch.int32)}, {}
for name, (family, fields) in CASES.items():
    architecture, weights = ARCHITECTURES[family]
    config = SIZES | fields | dict(model_type=family, architectures=[architecture], tie_word_embeddings=family == "qwen2")
    if "rope_parameters" in config:
        del config["rope_theta"]
    configs[name] = config
    prefix = f"{weights}.weights/"
    state = {key[len(prefix) :]: tensor for key, tensor in BASE.items() if key.startswith(prefix)}
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "config.json").write_text(json.dumps(config))
        save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        tensors[f"{name}.logits"] = model(IDS).logits[:, -4:]
        # The cache of transformers drops keys for a Llama that states a window, which the model itself never reads.
        answer = model.generate(
            IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=24, do_sample=False, use_cache=False
        )
    tensors[f"{name}.greedy"] = answer[0, IDS.shape[1] :].to(torch.int32)
write(__file__, tensors, **configs)
