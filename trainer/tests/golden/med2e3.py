"""The whole model in plain torch (facts of paper and released code, step by step): scores, loss, gradients of every part."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Phi3Config, Phi3ForCausalLM, SiglipVisionConfig, SiglipVisionModel

from common import prefixed, randomize, write
from m3d_clip import VisionTransformer

LLM = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
    vocab_size=61, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=256,
    sliding_window=None, rope_scaling=None,
)
VISION2D = dict(
    hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=8,
    num_channels=3, layer_norm_eps=1e-6,
)
VISION3D = dict(
    img_size=[8, 16, 16], patch_size=[2, 4, 4], hidden_size=24, mlp_dim=40, num_layers=2, num_heads=3, in_channels=1
)
SLICES, DEPTH, MAX_LENGTH = 8, 2, 24
IDS = [[1, -201, 7, 8, 9, 10, 2], [1, 5, -201, 11, 12, 2, 0], [3, 4, -201, 13, 14, 15, 16]]
LENGTHS = [7, 6, 7]
LABELS = [[-100, -100, -100, 8, 9, 10, 2], [-100, -100, -100, 11, 12, 2, -100], [-100, -100, -100, -100, 14, 15, 16]]
QUESTIONS, MASK = [[7, 0, 0], [11, 12, 13], [13, 14, 0]], [[1, 0, 0], [1, 1, 1], [1, 1, 0]]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.llm = Phi3ForCausalLM(
            Phi3Config(**LLM, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
        )
        self.vision2d_model = SiglipVisionModel(SiglipVisionConfig(**VISION2D))
        self.vision3d_model = VisionTransformer(VISION3D)
        self.vision2d_connector = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 32))
        self.vision3d_connector = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 32))

    def forward(self, voxels):
        batch = len(voxels)
        grid = self.vision3d_model(voxels, False).transpose(1, 2).view(batch, 24, 4, 4, 4)
        tokens3d = self.vision3d_connector(F.avg_pool3d(grid, 2, 2).flatten(2).transpose(1, 2))
        slices = voxels[:, 0].reshape(batch * SLICES, 1, 16, 16).repeat(1, 3, 1, 1)
        hidden = self.vision2d_model(slices, output_hidden_states=True).hidden_states[-1]
        tokens2d = self.vision2d_connector(hidden).view(batch, SLICES, -1, 32)

        embed, mask = self.llm.get_input_embeddings(), torch.tensor(MASK, dtype=torch.float32)[:, :, None]
        text = (embed(torch.tensor(QUESTIONS)) * mask).sum(1) / mask.sum(1)
        local3d = tokens3d.view(batch, DEPTH, -1, 32).repeat_interleave(SLICES // DEPTH, dim=1)
        local = torch.cat([local3d, tokens2d], 2).mean(2)
        scores = (local @ text[:, :, None])[:, :, 0].softmax(-1)
        visual = torch.cat([tokens3d, (scores[:, :, None, None] * tokens2d).sum(1)], 1)

        rows, labels = [], []
        for b, length in enumerate(LENGTHS):
            ids, at = torch.tensor(IDS[b][:length]), IDS[b].index(-201)
            row = torch.cat([embed(ids[:at]), visual[b], embed(ids[at + 1 :])])[:MAX_LENGTH]
            label = LABELS[b][:at] + [-100] * visual.shape[1] + LABELS[b][at + 1 : length]
            rows.append(row)
            labels.append(torch.tensor(label)[:MAX_LENGTH])
        embeds = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        labels = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        mask = torch.arange(embeds.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
        logits = self.llm(inputs_embeds=embeds, attention_mask=mask.long()).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        hits = (logits[:, :-1].argmax(-1) == labels[:, 1:]).sum()
        return loss, scores, visual, hits, (labels[:, 1:] != -100).sum()


def published(module):
    """A part's published prefix."""
    names = {"vision2d_model": "vision_model.", "vision3d_model": "vision_encoder."}
    connectors = {"vision2d_connector": "_connector.", "vision3d_connector": "_connector."}

    def rename(name):
        prefix = (names | connectors).get(module, "")
        return f"{module}/{name if name.startswith(prefix) else prefix + name}"

    return rename


if __name__ == "__main__":
    model = Model().eval()
    randomize(model, seed=11, std=0.15)
    voxels = torch.rand(3, 1, 8, 16, 16, generator=torch.Generator().manual_seed(12))
    loss, scores, visual, hits, targets = model(voxels)
    loss.backward()
    tensors = {
        "voxels": voxels, "ids": torch.tensor(IDS), "labels": torch.tensor(LABELS), "lengths": torch.tensor(LENGTHS),
        "question_ids": torch.tensor(QUESTIONS), "question_mask": torch.tensor(MASK).bool(),
        "loss": loss, "scores": scores, "visual": visual, "correct_count": hits, "target_count": targets,
    }
    for name, parameter in model.named_parameters():
        module, rest = name.split(".", 1)
        tensors["weights/" + published(module)(rest)] = parameter
        if parameter.grad is not None:
            tensors[f"norms/{published(module)(rest)}"] = parameter.grad.norm()
    variant = dict(
        text_feature="llm_embedding", local_feature="both", scorer="text_guided", aggregate="scores", visual_tokens="both",
        temperature=1.0, score_dropout=0.1, final_norm=False, slice_norm="none", max_length=MAX_LENGTH,
        connector3d={"spatial_pooling": {"pool": [2, 2, 2], "layers": 2}}, connector2d={"mlp": {"layers": 2}},
    )
    write(__file__, tensors, config=dict(llm=LLM, vision2d=VISION2D, vision3d=VISION3D, variant=variant,
                                       initializer={"normal": 0.02}))
