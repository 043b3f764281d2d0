"""Opens a folder of adapters with PEFT on a tiny random model of its family, strictly: no key missing, none unexpected, every
value as in the file.

    python3 -m pip install peft transformers safetensors torch
    python3 tests/peers/open_adapters.py ADAPTERS MODEL

MODEL is a folder or file with the language model's config.json, as transformers reads it. Ends with 1 where a key or a value
differs.
"""

import sys

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

adapters, published = sys.argv[1:3]
config = AutoConfig.from_pretrained(published)
model = get_peft_model(AutoModelForCausalLM.from_config(config), LoraConfig.from_pretrained(adapters))
saved = load_file(f"{adapters}/adapter_model.safetensors")
result = set_peft_model_state_dict(model, dict(saved))
missing = [key for key in result.missing_keys if "lora_" in key or ".modules_to_save." in key]
own = get_peft_model_state_dict(model)
wrong = [key for key, tensor in saved.items() if key not in own or not torch.equal(own[key].float(), tensor.float())]
active = model.peft_config["default"]
print(f"{len(saved)} tensors, PEFT has {len(own)}; missing {missing}, unexpected {result.unexpected_keys}, wrong {wrong}")
print(f"r {active.r}, lora_alpha {active.lora_alpha}, targets {sorted(active.target_modules)}, saved whole {active.modules_to_save}")
sys.exit(bool(missing or result.unexpected_keys or wrong or own.keys() != saved.keys()))
