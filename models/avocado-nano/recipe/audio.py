"""Qwen2.5-Omni's audio tower (Whisper's encoder in chunks of two seconds), batched: all sounds of a batch have the same length."""
import math

import torch
from torch import nn

from attention import attend

CHUNK = 200      # log-mel frames


class AudioAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, mask):
        split = lambda y: y.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
        mixed = attend(split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x)), mask)
        return self.out_proj(mixed.transpose(1, 2).reshape(x.shape))


class AudioLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.audio_width
        self.self_attn = AudioAttention(width, config.audio_heads)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, config.audio_inner), nn.Linear(config.audio_inner, width)

    def forward(self, x, mask):
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(nn.functional.gelu(self.fc1(self.final_layer_norm(x))))


class AudioTower(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.audio_width
        self.conv1, self.conv2 = nn.Conv1d(128, width, 3, padding=1), nn.Conv1d(width, width, 3, 2, 1)
        self.layers = nn.ModuleList(AudioLayer(config) for _ in range(config.audio_layers))
        self.ln_post, self.proj = nn.LayerNorm(width), nn.Linear(width, config.width)
        self.audio_bos_eos_token = nn.Embedding(2, config.width)      # present in every checkpoint, never used
        speeds = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2).float())
        angles = torch.arange(CHUNK // 2)[:, None] * speeds
        self.register_buffer('positions', torch.cat([angles.sin(), angles.cos()], 1), persistent=False)

    def forward(self, mel):
        """[batch, 128, frames] → [batch, tokens, width], 25 tokens a second."""
        batch, _, frames = mel.shape
        chunks = -(-frames // CHUNK)
        mel = nn.functional.pad(mel, (0, chunks * CHUNK - frames))
        x = mel.view(batch, 128, chunks, CHUNK).transpose(1, 2).reshape(batch * chunks, 128, CHUNK)
        real = (torch.arange(chunks * CHUNK, device=mel.device) < frames).view(chunks, CHUNK).repeat(batch, 1)
        x = nn.functional.gelu(self.conv1(x)) * real[:, None]
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positions.to(x.dtype)
        for layer in self.layers:
            x = layer(x, real[:, None, None, ::2])
        heard = (frames + 1) // 2
        x = x.reshape(batch, chunks * CHUNK // 2, -1)[:, :heard - heard % 2]
        return self.proj(self.ln_post((x[:, ::2] + x[:, 1::2]) * 0.5))
