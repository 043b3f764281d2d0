"""What the golden scripts share: seeded weights and the file they write."""

import json
import pathlib

import torch
from safetensors.torch import save_file


def randomize(module, seed, std=0.2):
    """Weights large enough that attention and softmax are far from uniform; norms near one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * std
            is_norm_scale = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(noise + 1.0 if is_norm_scale else noise)


def write(script, tensors, **metadata):
    path = pathlib.Path(script).with_suffix(".safetensors")
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, path, {key: json.dumps(value) for key, value in metadata.items()})
    print(path.name, path.stat().st_size, "bytes")


def prefixed(prefix, state):
    return {f"{prefix}/{name}": tensor for name, tensor in state.items()}
