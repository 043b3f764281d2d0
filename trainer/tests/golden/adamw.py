"""Three steps of torch.optim.AdamW on a matrix that decays and a bias that does not, with the gradient norm clipped."""

import torch

from common import write

generator = torch.Generator().manual_seed(9)
matrix = torch.nn.Parameter(torch.randn(5, 3, generator=generator))
bias = torch.nn.Parameter(torch.randn(3, generator=generator))
optimizer = torch.optim.AdamW(
    [{"params": [matrix], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}], betas=(0.9, 0.999), eps=1e-8
)
tensors = {"matrix.0": matrix.clone(), "bias.0": bias.clone()}
for step, lr in enumerate([1e-2, 5e-3, 2e-3], start=1):
    for group in optimizer.param_groups:
        group["lr"] = lr
    matrix.grad = torch.randn(5, 3, generator=generator)
    bias.grad = torch.randn(3, generator=generator)
    tensors |= {f"matrix_grad.{step}": matrix.grad.clone(), f"bias_grad.{step}": bias.grad.clone()}
    tensors[f"norm.{step}"] = torch.nn.utils.clip_grad_norm_([matrix, bias], 1.0)
    optimizer.step()
    tensors |= {f"matrix.{step}": matrix.clone(), f"bias.{step}": bias.clone()}
for name, parameter in [("matrix", matrix), ("bias", bias)]:
    tensors[f"{name}.exp_avg"] = optimizer.state[parameter]["exp_avg"]
    tensors[f"{name}.exp_avg_sq"] = optimizer.state[parameter]["exp_avg_sq"]
write(__file__, tensors)
