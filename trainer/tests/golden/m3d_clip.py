"""M3D-CLIP's vision transformer written out in torch, under its published key names; checked against MONAI's blocks."""

import torch
from torch import nn
from torch.nn import functional as F

from common import prefixed, randomize, write

CONFIG = dict(
    img_size=[4, 16, 16], patch_size=[2, 4, 8], hidden_size=24, mlp_dim=40, num_layers=2, num_heads=3, in_channels=1
)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        b, t, e = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, e // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) * (e // self.heads) ** -0.5).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).reshape(b, t, e))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.linear2(F.gelu(self.linear1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Rearrange(nn.Module):
    """b c (d p1) (h p2) (w p3) -> b (d h w) (p1 p2 p3 c)"""

    def __init__(self, patch):
        super().__init__()
        self.patch = patch

    def forward(self, x):
        for axis, size in zip((2, 4, 6), self.patch):
            x = x.unflatten(axis, (-1, size))
        return x.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 7).flatten(1, 3)


class PatchEmbedding(nn.Module):
    def __init__(self, c):
        super().__init__()
        tokens, width = 1, c["in_channels"]
        for size, patch in zip(c["img_size"], c["patch_size"]):
            tokens, width = tokens * (size // patch), width * patch
        self.patch_embeddings = nn.Sequential(Rearrange(c["patch_size"]), nn.Linear(width, c["hidden_size"]))
        self.position_embeddings = nn.Parameter(torch.zeros(1, tokens, c["hidden_size"]))

    def forward(self, x):
        return self.patch_embeddings(x) + self.position_embeddings


class VisionTransformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c["hidden_size"]))
        self.patch_embedding = PatchEmbedding(c)
        self.blocks = nn.ModuleList(
            Block(c["hidden_size"], c["num_heads"], c["mlp_dim"]) for _ in range(c["num_layers"])
        )
        self.norm = nn.LayerNorm(c["hidden_size"])

    def hidden(self, x):
        x = self.patch_embedding(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, x, final_norm):
        x = self.hidden(x)
        return (self.norm(x) if final_norm else x)[:, 1:]


def check_against_monai(model, voxels):
    from monai.networks.nets import ViT

    twin = ViT(
        in_channels=1, img_size=CONFIG["img_size"], patch_size=CONFIG["patch_size"], hidden_size=CONFIG["hidden_size"],
        mlp_dim=CONFIG["mlp_dim"], num_layers=CONFIG["num_layers"], num_heads=CONFIG["num_heads"],
        proj_type="perceptron", classification=True, spatial_dims=3,
    ).eval()
    missing, unexpected = twin.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected and all("cross" in k or "classification" in k for k in missing), (missing, unexpected)
    difference = (twin(voxels)[1][-1][:, 1:] - model(voxels, False)).abs().max()
    assert difference < 1e-5, difference


if __name__ == "__main__":
    model = VisionTransformer(CONFIG).eval()
    randomize(model, seed=7)
    voxels = torch.rand(2, 1, *CONFIG["img_size"], generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        check_against_monai(model, voxels)
        tensors = {"voxels": voxels, "features": model(voxels, False), "normed": model(voxels, True)}
    weights = prefixed("weights", {f"vision_encoder.{k}": v for k, v in model.state_dict().items()})
    write(__file__, tensors | weights, config=CONFIG)
