"""Qwen2.5's decoder with rotary positions on three axes."""
import torch
from torch import nn

from attention import RmsNorm, attend, look_back, probabilities, rotate
from vision import GatedMlp


class TextAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.kv_heads, self.channels = config.heads, config.kv_heads, config.width // config.heads
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj, self.v_proj = (nn.Linear(config.width, self.kv_heads * self.channels) for _ in range(2))
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x, cosine, sine, cache=None, watch=None):
        split = lambda y, heads: y.view(*y.shape[:2], heads, self.channels).transpose(1, 2)
        query = rotate(split(self.q_proj(x), self.heads), cosine, sine)
        key, value = rotate(split(self.k_proj(x), self.kv_heads), cosine, sine), split(self.v_proj(x), self.kv_heads)
        if cache is not None:
            key, value = cache.append(key, value)
        group = self.heads // self.kv_heads
        if watch is not None:
            watch.see(query, key, group)
        if x.shape[1] == 1:      # heads of a group as rows, so that the cache is not copied
            mixed = attend(query.view(len(x), self.kv_heads, group, self.channels), key, value)
            return self.o_proj(mixed.reshape(len(x), 1, -1))
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        mixed = attend(query, key, value, causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Watch:
    """Records the attention of some heads for the last `rows` tokens."""

    def __init__(self, heads, rows):
        self.heads, self.rows, self.seen = heads, rows, []

    def see(self, query, key, group):
        """Keeps probabilities [batch, heads, rows, keys] of one layer."""
        mask = look_back(self.rows, key.shape[2], key.device)
        self.seen.append(probabilities(query[:, self.heads, -self.rows:], key[:, [head // group for head in self.heads]], mask))


class TextLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = (RmsNorm(config.width, eps=1e-6) for _ in range(2))
        self.self_attn = TextAttention(config)
        self.mlp = GatedMlp(config.width, config.inner, bias=False)

    def forward(self, x, cosine, sine, cache=None, watch=None):
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine, cache, watch)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(TextLayer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.width, eps=1e-6)

    def forward(self, x, positions, caches=None, watch=None, watched=()):
        """[batch, n, width] at `positions` [3, n] → hidden states. `watch` records the attention of the layers `watched`."""
        cosine, sine = (table.to(x.dtype) for table in self._rotation(positions))
        for number, layer in enumerate(self.layers):
            x = layer(x, cosine, sine, caches and caches[number], watch if number in watched else None)
        return self.norm(x)

    def _rotation(self, positions):
        channels = self.config.width // self.config.heads
        speeds = self.config.rope_theta ** (-torch.arange(0, channels, 2, device=positions.device).float() / channels)
        angles = positions[..., None].float() * speeds
        sections = [part[axis] for axis, part in enumerate(angles.split(self.config.mrope_section, -1))]
        angles = torch.cat(sections, -1).repeat(1, 2)
        return angles.cos(), angles.sin()


class Cache:
    """Keys and values of one layer; its capacity doubles when it is full."""

    def __init__(self):
        self.key = self.value = None
        self.length = 0

    def append(self, key, value):
        if torch.is_grad_enabled() or self.key is None:
            self.key = key if self.key is None else torch.cat([self.key, key], 2)
            self.value = value if self.value is None else torch.cat([self.value, value], 2)
            self.length = self.key.shape[2]
            return self.key, self.value
        end = self.length + key.shape[2]
        if end > self.key.shape[2]:
            room = (0, 0, 0, max(end, 128))
            self.key, self.value = nn.functional.pad(self.key, room), nn.functional.pad(self.value, room)
        self.key[:, :, self.length:end], self.value[:, :, self.length:end] = key, value
        self.length = end
        return self.key[:, :, :end], self.value[:, :, :end]

    def spread(self, copies):
        """Repeats every row `copies` times: many clips after one beginning, or many answers to one prompt."""
        self.key, self.value = self.key.repeat_interleave(copies, 0), self.value.repeat_interleave(copies, 0)
