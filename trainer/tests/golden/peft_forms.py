"""Adapters of PEFT in the forms beyond one rank for the same maps of every block: patterns, layers, exclusions, rank-stabilized
scale, saved tables. The folders that save_pretrained writes and the logits with them, on the tiny Llama and Qwen2 of
language_models.safetensors."""

import json
import pathlib
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from common import write

BASE = pathlib.Path(__file__).with_name("language_models.safetensors")
FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
QV = ["q_proj", "v_proj"]
CASES = {
    "no_task": ("llama", dict(target_modules=QV, task_type=None)),
    "pattern": ("llama", dict(target_modules=r".*\.layers\.\d+\.self_attn\.(q|v)_proj")),
    "pattern_of_a_block": ("llama", dict(target_modules=r"model\.layers\.1\.mlp\.(up|down)_proj")),
    "paths": ("llama", dict(target_modules=["model.layers.0.mlp.up_proj", "layers.1.self_attn.o_proj", "k_proj"])),
    "ranks": ("llama", dict(target_modules=QV + ["up_proj"], rank_pattern={"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6})),
    # Of two keys that match, the first one of the file counts.
    "alphas": ("llama", dict(target_modules=QV, alpha_pattern={"q_proj": 16, r"layers\.0.*": 3})),
    "both": ("llama", dict(target_modules=QV, rank_pattern={"v_proj": 8}, alpha_pattern={"v_proj": 20})),
    "excluded": ("llama", dict(target_modules="all-linear", exclude_modules=["o_proj", "model.layers.1.mlp.down_proj"])),
    "excluded_by_pattern": ("llama", dict(target_modules=QV, exclude_modules=r".*layers\.0\..*q_proj")),
    "layer": ("llama", dict(target_modules=QV, layers_to_transform=1)),
    "layers": ("llama", dict(target_modules=QV, layers_to_transform=[0], layers_pattern="layers")),
    "rslora": ("llama", dict(target_modules=QV, use_rslora=True, rank_pattern={"v_proj": 9})),
    "head": ("llama", dict(target_modules=QV, modules_to_save=["lm_head"])),
    "tables": ("llama", dict(target_modules=QV, modules_to_save=["embed_tokens", "lm_head"])),
    # One table in the base: each is saved alone, and the other stays as it was.
    "tied_head": ("qwen2", dict(target_modules=QV, modules_to_save=["lm_head"])),
    "tied_embedding": ("qwen2", dict(target_modules=QV, modules_to_save=["embed_tokens"])),
}
IDS = torch.tensor([[1, 33, 2, 3, 8, 64, 21, 77, 5, 100, 4, 17]])


def base(family):
    Config, Model = FAMILIES[family]
    with safe_open(BASE, "pt") as file:
        published = json.loads(file.metadata()[family])
    model = Model(Config(**{key: value for key, value in published.items() if key != "model_type"})).eval()
    prefix = f"{family}.weights/"
    state = {key[len(prefix) :]: tensor for key, tensor in load_file(BASE).items() if key.startswith(prefix)}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model


tensors, configs = {"ids": IDS}, {}
for seed, (name, (family, fields)) in enumerate(CASES.items()):
    config = LoraConfig(**dict(r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM") | fields)
    with torch.no_grad():
        plain = base(family)(IDS).logits
    model = get_peft_model(base(family), config).eval()
    generator = torch.Generator().manual_seed(80 + seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            elif "modules_to_save" in key:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, save_embedding_layers=False)
        configs[name] = json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())
        saved = load_file(pathlib.Path(folder) / "adapter_model.safetensors")
        # As PEFT reads the folder: it writes keys in another order than it was given them.
        with torch.no_grad():
            tensors[f"{name}.logits"] = PeftModel.from_pretrained(base(family), folder).eval()(IDS).logits
    tensors |= {f"{name}.adapters/{key}": tensor for key, tensor in saved.items()}
    print(f"{name}: {len(saved)} tensors, logits moved by {(tensors[f'{name}.logits'] - plain).abs().max().item():.3f}")
write(__file__, tensors, families={name: family for name, (family, _) in CASES.items()}, **configs)
