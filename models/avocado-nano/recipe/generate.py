"""Generates captions, greedy or sampled, for a batch of clips of one geometry."""
import torch

import layout
import prompts
import tokenizer as tk
from text import Cache


@torch.no_grad()
def generate(thinker, seen, heard, grid, prompt=prompts.AVOCADO[0], most=256, temperature=0.0, copies=1):
    """Token ids [clips * copies, n] up to the end token, as lists; `heard` None turns sound off."""
    hidden, caches, after = read_prompt(thinker, seen, heard, grid, prompt, copies)
    written, done = [], torch.zeros(len(hidden), dtype=torch.bool, device=seen.device)
    for k in range(most):
        logits = thinker.lm_head(hidden).float()
        token = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0] if temperature else logits.argmax(-1)
        written.append(torch.where(done, tk.PAD, token))
        done |= token == tk.END
        if done.all():
            break
        at = torch.full((3, 1), after + k, device=seen.device)
        hidden = thinker.model(thinker.model.embed_tokens(written[-1])[:, None].to(seen.dtype), at, caches)[:, -1]
    return [until_end(row) for row in torch.stack(written, 1).tolist()]


def read_prompt(thinker, seen, heard, grid, prompt, copies=1):
    """The prompt's last hidden state, its caches, `copies` rows of each for every clip, and the first position after it."""
    laid_out = layout.layout(grid, 0 if heard is None else heard.shape[1], prompt, str(seen.device))
    caches = [Cache() for _ in thinker.model.layers]
    hidden = thinker.model(thinker.embed(laid_out, seen, heard), laid_out.positions, caches)[:, -1]
    if copies > 1:
        for cache in caches:
            cache.spread(copies)
    return hidden.repeat_interleave(copies, 0), caches, laid_out.after


def until_end(ids):
    """The ids up to the end token, that token not included."""
    return ids[:ids.index(tk.END)] if tk.END in ids else ids
