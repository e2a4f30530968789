"""Attention, rotation and normalisation, shared by the three parts of the model."""
import torch
import torch.nn.functional as F
from torch import nn


class RmsNorm(nn.RMSNorm):
    """Computes in the input's own type, so that autocast does not use the slow path."""

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def attend(query, key, value, mask=None, causal=False):
    """Scaled dot-product attention over [..., tokens, channels]; with `causal`, queries are the last positions of the keys.

    Written out where the fused kernel is slower: with masks, and on a CPU when gradients are needed (half as fast there).
    """
    if causal:
        rows, columns = query.shape[-2], key.shape[-2]
        if rows == columns and (query.is_cuda or not torch.is_grad_enabled()):
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mask = look_back(rows, columns, query.device)
    if not torch.is_grad_enabled() or (query.is_cuda and mask is None):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return probabilities(query, key, mask) @ value


def look_back(rows, columns, device):
    """Causal mask: which of `columns` keys each of the last `rows` tokens may attend to."""
    return torch.ones(rows, columns, dtype=torch.bool, device=device).tril(columns - rows)


def probabilities(query, key, mask=None):
    """Softmax of the scaled products, in the queries' own type."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return torch.softmax(scores, -1, dtype=scores.dtype)


def rotate(x, cosine, sine):
    """Rotary position embedding, halves layout."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine
