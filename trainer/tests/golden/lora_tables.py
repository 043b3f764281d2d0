"""Adapters of PEFT beside an embedding and a head that learn whole (`modules_to_save`), in the tiny Phi-3 of
language_models.safetensors: what save_pretrained writes, logits and loss, the norms of the gradients of all that learns."""

import json
import pathlib
import tempfile

import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import Phi3Config, Phi3ForCausalLM

from common import write

BASE = pathlib.Path(__file__).with_name("language_models.safetensors")
IDS = torch.tensor([[1, 33, 2, 3, 8, 64, 21, 77, 5, 100, 4, 17]])


def base():
    with safe_open(BASE, "pt") as file:
        published = json.loads(file.metadata()["plain"])
    model = Phi3ForCausalLM(Phi3Config(**{key: value for key, value in published.items() if key != "model_type"})).eval()
    prefix = "phi3.weights/"
    model.load_state_dict({key[len(prefix) :]: tensor for key, tensor in load_file(BASE).items() if key.startswith(prefix)})
    return model


tensors, configs = {"ids": IDS}, {}
for seed, (name, saved) in enumerate({"both": ["embed_tokens", "lm_head"], "head": ["lm_head"]}.items()):
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=["qkv_proj", "down_proj"], modules_to_save=saved, lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    model = get_peft_model(base(), config).eval()
    generator = torch.Generator().manual_seed(80 + seed)
    learning = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in key or ".modules_to_save." in key for key in learning)
    with torch.no_grad():
        for parameter in learning.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    output = model(IDS, labels=IDS)
    output.loss.backward()
    tensors |= {f"{name}.logits": output.logits, f"{name}.loss": output.loss}
    # As PEFT names them in a file: without the adapter's own name, `default`.
    norms = {key.replace(".modules_to_save", "").replace(".default", ""): p.grad.norm() for key, p in learning.items()}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        configs[name] = json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())
        stored = load_file(pathlib.Path(folder) / "adapter_model.safetensors")
    configs[name]["target_modules"].sort()
    assert norms.keys() == stored.keys(), norms.keys() ^ stored.keys()
    tensors |= {f"{name}.adapters/{key}": tensor for key, tensor in stored.items()}
    tensors |= {f"{name}.norms/{key}": norm for key, norm in norms.items()}
    print(f"{name}: {len(stored)} tensors, loss {output.loss:.4f}")
write(__file__, tensors, **configs)
