"""The prompt around a clip: token ids, and a position on three axes for each (TMRoPE), as the server's prompt stage builds them."""
import dataclasses
import functools

import torch

import prompts
import tokenizer as tk

POSITIONS_PER_SECOND, CHUNK = 25, 50      # a step of two frames spans 25 positions; sound and picture alternate every 50


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Token ids [n], positions [3, n], the first position after them, and where the clip's placeholders are."""
    ids: torch.Tensor
    positions: torch.Tensor
    after: int
    video_at: torch.Tensor
    audio_at: torch.Tensor


@functools.lru_cache(512)
def layout(grid, audio, prompt, device='cpu'):
    """The Prompt around a clip. `grid` is (steps, rows, columns) of merged tokens, `audio` the number of sound tokens, 0 if there are none."""
    before = [tk.START, *_encode(f'system\n{prompts.SYSTEM}'), tk.END, *_encode('\n'), tk.START, *_encode('user\n')]
    after = [*_encode(prompt), tk.END, *_encode('\n'), tk.START, *_encode('assistant\n')]
    writer = _Writer()
    writer.text(before)
    writer.text([tk.VISION_START])
    if audio:
        _interleave(writer, grid, audio)
    else:
        writer.video(grid, writer.next, 0, grid[0])
        writer.text([tk.VISION_END])
    writer.text(after)
    ids = torch.tensor(writer.ids)
    parts = (ids, torch.tensor(writer.positions).T.contiguous(), *((ids == token).nonzero()[:, 0] for token in (tk.VIDEO, tk.AUDIO)))
    ids, positions, video_at, audio_at = (part.to(device) for part in parts)
    return Prompt(ids, positions, writer.next, video_at, audio_at)


def _encode(text):
    return tk.load().encode(text).ids


def _interleave(writer, grid, audio):
    writer.again([tk.AUDIO_START])
    base, steps_per_chunk = writer.next, CHUNK // POSITIONS_PER_SECOND
    for chunk in range(max(-(-grid[0] // steps_per_chunk), -(-audio // CHUNK))):
        writer.video(grid, base, chunk * steps_per_chunk, min((chunk + 1) * steps_per_chunk, grid[0]))
        first, end = chunk * CHUNK, min((chunk + 1) * CHUNK, audio)
        writer.text([tk.AUDIO] * (end - first), base + first)
    writer.text([tk.AUDIO_END])
    writer.again([tk.VISION_END])


class _Writer:
    """Appends ids and positions; `next` is one more than the highest position of the last part."""

    def __init__(self):
        self.ids, self.positions, self.next = [], [], 0

    def text(self, ids, first=None):
        """Tokens at consecutive positions, the same on all three axes."""
        if ids:
            first = self.next if first is None else first
            self.ids += ids
            self.positions += [[first + k] * 3 for k in range(len(ids))]
            self.next = first + len(ids)

    def again(self, ids):
        """A token at the same position as the one before."""
        self.text(ids, self.next - 1)

    def video(self, grid, base, first, end):
        """Steps [first, end) of a grid whose first token is at position `base`."""
        _, rows, columns = grid
        for step in range(first, end):
            self.ids += [tk.VIDEO] * (rows * columns)
            self.positions += [[base + step * POSITIONS_PER_SECOND, base + r, base + c] for r in range(rows) for c in range(columns)]
        if end > first:
            self.next = base + max((end - 1) * POSITIONS_PER_SECOND, rows - 1, columns - 1) + 1
