"""The thinker: both towers and the decoder, under the tensor names of the published checkpoints."""
import dataclasses
import math

from torch import nn

import tokenizer as tk
from audio import AudioTower
from text import TextModel
from vision import VisionTower


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    inner: int = 640
    vocabulary: int = tk.VOCABULARY
    # All fast channel pairs encode time: rows and columns differ by a few positions only, too few for a visible rotation.
    mrope_section: tuple = (16, 8, 8)
    rope_theta: float = 10_000.0
    vision_width: int = 192
    vision_layers: int = 4
    vision_heads: int = 6
    vision_inner: int = 480
    vision_full: tuple = (1, 3)
    audio_width: int = 128
    audio_layers: int = 4
    audio_heads: int = 4
    audio_inner: int = 512


class Thinker(nn.Module):
    def __init__(self, config=Config()):
        super().__init__()
        self.config = config
        self.visual, self.audio_tower, self.model = VisionTower(config), AudioTower(config), TextModel(config)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            self._initialise(name, parameter)

    @staticmethod
    def _initialise(name, parameter):
        if parameter.dim() > 1:
            table = 'embed_tokens' in name or 'lm_head' in name or 'bos_eos' in name
            closes = any(part in name for part in ('down_proj', 'o_proj', 'out_proj', 'fc2', 'attn.proj'))
            nn.init.normal_(parameter, 0, 0.02 if table else (0.5 if closes else 1) / math.sqrt(parameter[0].numel()))
        elif name.endswith('bias'):
            nn.init.zeros_(parameter)

    def look(self, patches, grid):
        """[batch, steps, patches, 1176] → [batch, steps * cells, width]."""
        batch = patches.shape[0]
        return self.visual(patches.flatten(0, 1), grid[1], grid[2]).view(batch, grid[0] * grid[1] * grid[2], -1)

    def embed(self, prompt, seen, heard):
        """A layout.Prompt, shared by the batch, with the towers' rows in place of the placeholders → [batch, n, width]."""
        x = self.model.embed_tokens(prompt.ids).to(seen.dtype).expand(seen.shape[0], -1, -1).clone()
        x[:, prompt.video_at] = seen
        if heard is not None:
            x[:, prompt.audio_at] = heard.to(seen.dtype)
        return x
