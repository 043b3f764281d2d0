"""Steps of torch.optim.AdamW on f32 weights, each with a rate and a decay of its own, the gradient norm clipped.

Case f32: one gradient a step. Case bf16: four bf16 gradients a step, summed in f32, as micro-batches of a bf16 model give
them; torch's own weights are the f32 copies that stand for what a master holds. The first step has a rate of 0, as a warm-up
begins. Some gradients are below the largest norm, most above."""

import torch

from common import write

SHAPES = {"matrix": (5, 3), "bias": (3,), "slow": (4, 2, 9), "table": (70, 6)}
DECAYS = {"matrix": 0.1, "bias": 0.0, "slow": 0.02, "table": 0.1}
RATES = {"matrix": 1.0, "bias": 1.0, "slow": 0.25, "table": 2.0}
LEARNING_RATES = [0.0, 1e-2, 5e-3, 2e-3, 2e-3, 1e-3]
SIZES = [1.0, 1.0, 0.01, 3.0, 0.02, 1.0]

generator = torch.Generator().manual_seed(9)
tensors = {}
for case, kind, parts in [("f32", torch.float32, 1), ("bf16", torch.bfloat16, 4)]:
    weights = {
        name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()
    }
    groups = [{"params": [weight], "weight_decay": DECAYS[name]} for name, weight in weights.items()]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    tensors |= {f"{case}.{name}.0": weight.clone() for name, weight in weights.items()}
    for step, (rate, size) in enumerate(zip(LEARNING_RATES, SIZES), start=1):
        for group, name in zip(optimizer.param_groups, weights):
            group["lr"] = rate * RATES[name]
        for name, weight in weights.items():
            gradients = [(torch.randn(weight.shape, generator=generator) * size).to(kind) for _ in range(parts)]
            weight.grad = sum(gradient.float() for gradient in gradients)
            tensors |= {f"{case}.{name}_grad.{step}.{part}": grad for part, grad in enumerate(gradients)}
        tensors[f"{case}.norm.{step}"] = torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        tensors |= {f"{case}.{name}.{step}": weight.clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        tensors[f"{case}.exp_avg/{name}"] = optimizer.state[weight]["exp_avg"]
        tensors[f"{case}.exp_avg_sq/{name}"] = optimizer.state[weight]["exp_avg_sq"]
write(__file__, tensors, rates=RATES, decays=DECAYS, learning_rates=LEARNING_RATES)
