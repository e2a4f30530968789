"""Attention, rotation and normalisation, shared by the three parts of the model."""
import torch
import torch.nn.functional as F
from torch import nn


class RmsNorm(nn.RMSNorm):
    """In the input's own type, so that autocast does not fall back to the slow path."""

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def attend(query, key, value, mask=None, causal=False, weights=None):
    """Scaled dot-product attention over [..., tokens, channels]. `weights`, a list, is given the probabilities to look at.

    Written out where gradients are needed: on a CPU that differentiates twice as fast as the fused kernel at these lengths.
    """
    rows, columns = query.shape[-2], key.shape[-2]
    if causal:
        mask = torch.ones(rows, columns, dtype=torch.bool, device=query.device).tril(columns - rows)
    if not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    probabilities = torch.softmax(scores, -1, dtype=scores.dtype)
    if weights is not None:
        weights.append(probabilities)
    return probabilities @ value


def rotate(x, cosine, sine):
    """Rotary position embedding, halves layout."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine
