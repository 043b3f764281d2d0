"""One table or two: what transformers computes for a config.json that ties embedding and head and a file with both, alike or not,
or with one of them under either name. Weights are those of the tiny Qwen2 of language_models.safetensors."""

import json
import pathlib
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from common import write

BASE = pathlib.Path(__file__).with_name("language_models.safetensors")
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
with safe_open(BASE, "pt") as file:
    CONFIG = json.loads(file.metadata()["qwen2"]) | {"architectures": ["Qwen2ForCausalLM"]}
STATE = {key[len("qwen2.weights/") :]: tensor for key, tensor in load_file(BASE).items() if key.startswith("qwen2.weights/")}
IDS = torch.tensor([[1, 17, 99, 4, 56, 33, 2, 8]])
other = torch.randn(STATE[EMBEDDING].shape, generator=torch.Generator().manual_seed(9)) * 0.2
CASES = {
    "embedding_alone": STATE,
    "alike": STATE | {HEAD: STATE[EMBEDDING].clone()},
    "another_head": STATE | {HEAD: other},
    "head_alone": {(HEAD if key == EMBEDDING else key): tensor for key, tensor in STATE.items()},
}
tensors = {"ids": IDS, "other": other}
for name, state in CASES.items():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "config.json").write_text(json.dumps(CONFIG))
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, f"{folder}/model.safetensors", metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        tensors[f"{name}.logits"] = model(IDS).logits
for name in CASES:
    print(name, (tensors[f"{name}.logits"] - tensors["embedding_alone.logits"]).abs().max().item())
write(__file__, tensors)
