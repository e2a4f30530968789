"""Writes captions: greedy or sampled, a batch of clips of one geometry at a time."""
import torch

import answers
import prompts
import tokenizer as tk


@torch.no_grad()
def generate(thinker, tokenizer_path, seen, heard, grid, prompt=prompts.AVOCADO[0], most=256, temperature=0.0, copies=1):
    """Token ids [clips * copies, n] without the end token's followers, as lists; `heard` None turns sound off."""
    ids, positions, after = answers.prompt_of(tokenizer_path, grid, 0 if heard is None else heard.shape[1], prompt)
    caches, shared = thinker.begin(ids, positions, len(seen))
    hidden = thinker.model(thinker.embed(ids[shared:], seen, heard), positions[:, shared:], caches, rows=1)[:, -1]
    if copies > 1:
        hidden = hidden.repeat_interleave(copies, 0)
        for cache in caches:
            cache.spread(copies)
    written, done = [], torch.zeros(len(hidden), dtype=torch.bool)
    for k in range(most):
        logits = thinker.lm_head(hidden).float()
        token = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0] if temperature else logits.argmax(-1)
        written.append(torch.where(done, tk.PAD, token))
        done |= token == tk.END
        if done.all():
            break
        at = torch.full((3, 1), after + k)
        hidden = thinker.model(thinker.model.embed_tokens(written[-1])[:, None].to(seen.dtype), at, caches)[:, -1]
    return [until_end(row) for row in torch.stack(written, 1).tolist()]


def until_end(ids):
    """The ids up to the end token, that token not included."""
    return ids[:ids.index(tk.END)] if tk.END in ids else ids
