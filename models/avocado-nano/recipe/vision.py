"""Qwen2.5-Omni's vision tower, batched: every step of a batch has the same grid."""
import functools

import torch
from torch import nn

from attention import RmsNorm, attend, rotate


class VisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, cosine, sine, mask):
        split = lambda y: y.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
        query, key = rotate(split(self.q(x)), cosine, sine), rotate(split(self.k(x)), cosine, sine)
        return self.proj(attend(query, key, split(self.v(x)), mask).transpose(1, 2).reshape(x.shape))


class GatedMlp(nn.Module):
    def __init__(self, width, inner, bias):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, inner, bias), nn.Linear(width, inner, bias)
        self.down_proj = nn.Linear(inner, width, bias)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class VisionBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1, self.norm2 = (RmsNorm(config.vision_width, eps=1e-6) for _ in range(2))
        self.attn = VisionAttention(config.vision_width, config.vision_heads)
        self.mlp = GatedMlp(config.vision_width, config.vision_inner, bias=True)

    def forward(self, x, cosine, sine, mask):
        x = x + self.attn(self.norm1(x), cosine, sine, mask)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """A convolution without overlap, computed as one matrix product."""

    def __init__(self, width):
        super().__init__()
        self.proj = nn.Conv3d(3, width, (2, 14, 14), (2, 14, 14), bias=False)

    def forward(self, patches):
        return nn.functional.linear(patches, self.proj.weight.flatten(1))


class Merger(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.ln_q = RmsNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(4 * width, 4 * width), nn.GELU(), nn.Linear(4 * width, out))

    def forward(self, x):
        return self.mlp(self.ln_q(x).reshape(x.shape[0], x.shape[1] // 4, -1))


class VisionTower(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.vision_width)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.vision_layers))
        self.merger = Merger(config.vision_width, config.width)

    def forward(self, patches, rows, columns):
        """[steps, rows * columns * 4, 1176] → [steps, rows * columns, width]."""
        x = self.patch_embed(patches)
        cosine, sine, window = lattice(rows, columns, self.config.vision_width // self.config.vision_heads, x.device)
        for number, block in enumerate(self.blocks):
            x = block(x, cosine.to(x.dtype), sine.to(x.dtype), None if number in self.config.vision_full else window)
        return self.merger(x)


@functools.cache
def lattice(rows, columns, channels, device):
    """Rotation of each patch by its row and column, and which patches share a window of 4 x 4 merge groups."""
    patch = torch.arange(rows * columns * 4)
    group, inside = patch // 4, patch % 4
    group_row, group_column = group // columns, group % columns
    row, column = 2 * group_row + inside // 2, 2 * group_column + inside % 2
    speeds = 10_000 ** (-torch.arange(0, channels // 2, 2).float() / (channels // 2))
    angles = torch.cat([row[:, None] * speeds, column[:, None] * speeds], 1).repeat(1, 2)
    window = (group_row // 4) * 100 + group_column // 4
    return tuple(table.to(device) for table in (angles.cos(), angles.sin(), window[:, None] == window[None]))
