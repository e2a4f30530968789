"""Input of the two towers, with the same numbers as the server computes: sampled frames, sizes, patches, log-mel."""
import functools
import math

import torch
import torch.nn.functional as F

FACTOR = 28                              # a merged token is 2 x 2 patches of 14 pixels
MIN_PIXELS, MAX_PIXELS = 3136, 14112     # of a frame; also in avocado.json and preprocessor_config.json
HOP, WINDOW = 160, 400
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def frame_indices(total, fps):
    """Indices of the sampled frames of a clip with `total` frames: two a second, an even number, from the first to the last."""
    count = int(min(max(total / fps * 2, 4), total) // 2) * 2
    return torch.linspace(0, total - 1, count).round().int().tolist()


def model_size(size):
    """Width and height after smart_resize under this package's limits."""
    width, height = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in size)
    if width * height > MAX_PIXELS:
        shrink = math.sqrt(size[0] * size[1] / MAX_PIXELS)
        width, height = (max(FACTOR, math.floor(side / shrink / FACTOR) * FACTOR) for side in size)
    return width, height


@functools.cache
def _resize_matrix(source, target):
    """Rows of torch's antialiased bicubic resize of one axis."""
    return F.interpolate(torch.eye(source)[None, None], size=(target, source), mode='bicubic', antialias=True)[0, 0]


def resize(frames):
    """float [..., height, width, 3], whole levels → uint8 [..., h, w, 3] of the model's size."""
    width, height = model_size((frames.shape[-2], frames.shape[-3]))
    rows, columns = (_resize_matrix(*sides).to(frames.device) for sides in ((frames.shape[-3], height), (frames.shape[-2], width)))
    narrow = torch.einsum('...hwc,vw->...hvc', frames, columns)
    return torch.einsum('...hvc,uh->...uvc', narrow, rows).round().clamp(0, 255).byte()


def patches_of(frames):
    """uint8 or float [n, steps * 2, h, w, 3] → float [n, steps, patches, 1176], the 2 x 2 patches of a merge group next to each other."""
    clips, steps, rows, columns = len(frames), frames.shape[1] // 2, frames.shape[2] // FACTOR, frames.shape[3] // FACTOR
    mean, std = MEAN.to(frames.device), STD.to(frames.device)
    pixels = ((frames.float() / 255 - mean) / std).view(clips, steps, 2, rows, 2, 14, columns, 2, 14, 3)
    return pixels.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8).reshape(clips, steps, rows * columns * 4, 1176)


@functools.cache
def _mel_filters():
    """[201, 128] Slaney triangles, as Whisper's feature extractor has them."""
    to_mel = 15 + 27 * math.log(8) / math.log(6.4)
    mels = torch.linspace(0, to_mel, 130, dtype=torch.float64)
    corners = torch.where(mels < 15, 200 * mels / 3, 1000 * torch.exp(math.log(6.4) / 27 * (mels - 15)))
    bins = torch.linspace(0, 8000, 201, dtype=torch.float64)[:, None]
    rise, fall = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2]), (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return (torch.minimum(rise, fall).clamp(min=0) * 2 / (corners[2:] - corners[:-2])).float()


def log_mel(waves):
    """float [n, samples] at 16 kHz → float [n, 128, frames]. The extractor pads the sound with silence up to 300 s."""
    samples, window = waves.shape[1], torch.hann_window(WINDOW, device=waves.device)
    count = math.ceil(samples / HOP)
    padded = F.pad(waves, (0, (count + 4) * HOP - samples))
    spectrum = torch.stft(padded, WINDOW, HOP, window=window, return_complex=True)[..., :count + 2]
    levels = torch.log10((_mel_filters().to(waves.device).T @ spectrum.abs() ** 2).clamp(min=1e-10))
    return ((torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8) + 4) / 4)[..., :count]


def audio_tokens(mel_frames):
    """Number of tokens of a sound: the tower halves its frames twice."""
    return (mel_frames + 1) // 4
