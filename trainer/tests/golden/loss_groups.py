"""One step of 32 texts on 8 volumes in plain torch, whole and at once: the loss is the mean of means over 4 groups of 8 texts, each
mean over the targets of its group. Loss, every gradient, and the texts as padded tensors. The model is that of med2e3.py."""

import torch
from torch import nn
from torch.nn import functional as F

import med2e3
from common import randomize, write
from med2e3 import DEPTH, LLM, MAX_LENGTH, SLICES, VISION2D, VISION3D, published

TEXTS, VOLUMES, GROUP = 32, 8, 8


def drawn(generator):
    """Texts of 4 to 12 ids with the volume second, targets from the third on; one group has no target at all in one text."""
    rows = []
    for text in range(TEXTS):
        integer = lambda low, high: int(torch.randint(low, high, (1,), generator=generator))
        before, targets = integer(1, 4), 0 if text % 11 == 5 else integer(1, 6)
        ids = [integer(3, 61), -201] + [integer(3, 61) for _ in range(before + targets)]
        labels = [-100] * (2 + before) + ids[2 + before :]
        question = [integer(3, 61) for _ in range(integer(1, 5))]
        rows.append((ids, labels, question, integer(0, VOLUMES)))
    return rows


def loss_of(model, voxels, rows):
    """Each text alone with its own volume: nothing is shared, sorted or padded."""
    embed = model.llm.get_input_embeddings()
    sums, counts = [], []
    for ids, labels, question, volume in rows:
        volume = voxels[volume : volume + 1]
        grid = model.vision3d_model(volume, False).transpose(1, 2).view(1, 24, 4, 4, 4)
        tokens3d = model.vision3d_connector(F.avg_pool3d(grid, 2, 2).flatten(2).transpose(1, 2))
        slices = volume[:, 0].reshape(SLICES, 1, 16, 16).repeat(1, 3, 1, 1)
        hidden = model.vision2d_model(slices, output_hidden_states=True).hidden_states[-1]
        tokens2d = model.vision2d_connector(hidden).view(1, SLICES, -1, 32)
        text = embed(torch.tensor(question)).mean(0)
        local3d = tokens3d.view(1, DEPTH, -1, 32).repeat_interleave(SLICES // DEPTH, dim=1)
        scores = (torch.cat([local3d, tokens2d], 2).mean(2) @ text).softmax(-1)
        visual = torch.cat([tokens3d, (scores[:, :, None, None] * tokens2d).sum(1)], 1)[0]
        at = ids.index(-201)
        row = torch.cat([embed(torch.tensor(ids[:at])), visual, embed(torch.tensor(ids[at + 1 :]))])[:MAX_LENGTH]
        label = torch.tensor(labels[:at] + [-100] * len(visual) + labels[at + 1 :])[:MAX_LENGTH]
        logits = model.llm(inputs_embeds=row[None]).logits[0]
        sums.append(F.cross_entropy(logits[:-1], label[1:], ignore_index=-100, reduction="sum"))
        counts.append(int((label[1:] != -100).sum()))
    groups = [(sums[at : at + GROUP], counts[at : at + GROUP]) for at in range(0, TEXTS, GROUP)]
    return torch.stack([sum(s) / sum(c) for s, c in groups]).mean(), counts


def padded(lists, value):
    return nn.utils.rnn.pad_sequence([torch.tensor(list) for list in lists], batch_first=True, padding_value=value)


generator = torch.Generator().manual_seed(31)
rows, voxels = drawn(generator), torch.rand(VOLUMES, 1, 8, 16, 16, generator=generator)
model = med2e3.Model().eval()
randomize(model, seed=11, std=0.15)
loss, counts = loss_of(model, voxels, rows)
loss.backward()
ids, labels, questions, volumes = zip(*rows)
tensors = {
    "voxels": voxels, "ids": padded(ids, 0), "labels": padded(labels, -100),
    "lengths": torch.tensor([len(row) for row in ids]), "volumes": torch.tensor(volumes),
    "question_ids": padded(questions, 0), "question_mask": padded([[1] * len(row) for row in questions], 0).bool(),
    "loss": loss, "targets": torch.tensor(counts),
}
for name, parameter in model.named_parameters():
    module, rest = name.split(".", 1)
    if parameter.grad is not None:
        tensors[f"grads/{published(module)(rest)}"] = parameter.grad
write(__file__, tensors, group=GROUP)
