"""Adapters of PEFT in the tiny Phi-3 and Llama of language_models.safetensors: what save_pretrained writes, logits and loss
with them, the norms of their gradients, logits after merging."""

import json
import pathlib
import tempfile

import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from common import write

BASE = pathlib.Path(__file__).with_name("language_models.safetensors")
PHI3, LLAMA = (Phi3Config, Phi3ForCausalLM, "phi3", "plain"), (LlamaConfig, LlamaForCausalLM, "llama", "llama")
CASES = {
    "phi3": (PHI3, ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], 8),
    "phi3_attention": (PHI3, ["qkv_proj", "o_proj"], 3),
    "llama": (LLAMA, "all-linear", 8),
    "llama_query_value": (LLAMA, ["q_proj", "v_proj"], 2),
}
IDS = torch.tensor([[1, 33, 2, 3, 8, 64, 21, 77, 5, 100, 4, 17]])


def base(kind):
    Config, Model, weights, config = kind
    with safe_open(BASE, "pt") as file:
        published = json.loads(file.metadata()[config])
    model = Model(Config(**{key: value for key, value in published.items() if key != "model_type"})).eval()
    prefix = f"{weights}.weights/"
    state = {key[len(prefix) :]: tensor for key, tensor in load_file(BASE).items() if key.startswith(prefix)}
    model.load_state_dict(state)
    return model


tensors, configs = {"ids": IDS}, {}
for seed, (name, (kind, targets, alpha)) in enumerate(CASES.items()):
    config = LoraConfig(r=4, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0, task_type="CAUSAL_LM")
    model = get_peft_model(base(kind), config).eval()
    generator = torch.Generator().manual_seed(60 + seed)
    adapters = {key: p for key, p in model.named_parameters() if "lora_" in key}
    with torch.no_grad():
        for parameter in adapters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    output = model(IDS, labels=IDS)
    output.loss.backward()
    tensors |= {f"{name}.logits": output.logits, f"{name}.loss": output.loss}
    with torch.no_grad():
        plain = base(kind)(IDS).logits
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        configs[name] = json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())
        saved = load_file(pathlib.Path(folder) / "adapter_model.safetensors")
    # A set has no order.
    configs[name]["target_modules"].sort()
    tensors |= {f"{name}.adapters/{key}": tensor for key, tensor in saved.items()}
    # The adapter's own name, `default`, is left out of a file.
    norms = {key.replace(".default", ""): parameter.grad.norm() for key, parameter in adapters.items()}
    assert norms.keys() == saved.keys()
    tensors |= {f"{name}.norms/{key}": norm for key, norm in norms.items()}
    with torch.no_grad():
        tensors[f"{name}.merged"] = model.merge_and_unload()(IDS).logits
    moved = (output.logits - plain).abs().max().item()
    merged = (output.logits - tensors[f"{name}.merged"]).abs().max().item()
    print(f"{name}: {len(saved)} tensors, logits moved by {moved:.3f}, by merging {merged:.2e}, loss {output.loss:.4f}")
write(__file__, tensors, **configs)
