"""What transformers needs for the same work on the same card: python3 transformers_speed.py CHECKPOINT

CHECKPOINT is a folder with the config.json of the shape. Its weights are not read: the model is filled with random ones
in bf16 on the device. Every finding is one line of JSON. A part that fails is a finding too, with its problem.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint", type=Path)
parser.add_argument("--device", default="cuda")
parser.add_argument("--seconds", type=float, default=50, help="no part starts when so many have passed")
parser.add_argument("--sizes", type=json.loads, default={}, help="JSON that replaces some of the sizes below")
parser.add_argument("--mark", default="", help="before each line of JSON")
options = parser.parse_args()
# The same as in speed.ts: 100 s of video at two frames a second, with its sound.
SIZES = {
    "steps": 100,
    "grid": 32,
    "frames": 10_000,
    "prompt": 28_100,
    "streams": [1, 8, 32],
    "context": 8192,
    "decodeSteps": 20,
    **options.sizes,
}


def tell(what, **found):
    print(options.mark + json.dumps({"kind": "transformers", "what": what, **found}), flush=True)


try:
    import torch
    import transformers
    from transformers import DynamicCache, Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration, StaticCache

    if options.device != "cpu" and not torch.cuda.is_available():
        raise RuntimeError("torch finds no card")
except Exception as error:  # noqa: BLE001
    tell("load", problem=f"{type(error).__name__}: {error}")
    sys.exit(0)


def synchronise():
    if options.device != "cpu":
        torch.cuda.synchronize()


def seconds_of(work):
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start


def part(what, work, **facts):
    """Runs one part. What it returns are the findings' fields."""
    if time.perf_counter() - STARTED > options.seconds:
        tell(what, problem="no time was left for it", **facts)
        return
    try:
        tell(what, **facts, **work())
    except Exception as error:  # noqa: BLE001
        tell(what, problem=f"{type(error).__name__}: {str(error)[:300]}", **facts)
    if options.device != "cpu":
        torch.cuda.empty_cache()


def make_model():
    config = json.loads((options.checkpoint / "config.json").read_text())["thinker_config"]
    config = Qwen2_5OmniThinkerConfig(**{key: value for key, value in config.items() if key != "torch_dtype"})
    with torch.device(options.device):
        return Qwen2_5OmniThinkerForConditionalGeneration._from_config(
            config, dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()


def vision():
    tower = model.visual
    config = model.config.vision_config
    columns = config.in_channels * config.temporal_patch_size * config.patch_size**2

    def encode(steps):
        grid = torch.tensor([[steps, SIZES["grid"], SIZES["grid"]]], device=options.device)
        patches = torch.randn(steps * SIZES["grid"] ** 2, columns, device=options.device, dtype=torch.bfloat16)
        return seconds_of(lambda: tower(patches, grid_thw=grid))

    encode(min(4, SIZES["steps"]))
    return {"seconds": encode(SIZES["steps"])}


def audio():
    tower = model.audio_tower
    frames = SIZES["frames"]
    mel = torch.randn(tower.num_mel_bins, frames, device=options.device, dtype=torch.bfloat16)
    lengths = torch.tensor([frames], device=options.device)
    after, _ = tower._get_feat_extract_output_lengths(lengths)
    encode = lambda: tower(mel, feature_lens=lengths, aftercnn_lens=after)  # noqa: E731
    encode()
    return {"seconds": seconds_of(encode)}


def positions(start, count, streams=1):
    return torch.arange(start, start + count, device=options.device).expand(3, streams, count)


def prefill():
    text = model.model
    tokens = SIZES["prompt"]
    embeds = 0.02 * torch.randn(1, tokens, text.config.hidden_size, device=options.device, dtype=torch.bfloat16)

    def run(count):
        found = text(inputs_embeds=embeds[:, :count], position_ids=positions(0, count), use_cache=True)
        return model.lm_head(found.last_hidden_state[:, -1:]).argmax(-1).cpu()

    run(min(1024, tokens))
    return {"seconds": seconds_of(lambda: run(tokens)), "tokens": tokens}


def filled(cache, streams):
    text = model.model.config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    size = (streams, text.num_key_value_heads, SIZES["context"], head)
    for layer in range(text.num_hidden_layers):
        keys, values = (torch.randn(size, device=options.device, dtype=torch.bfloat16) for _ in range(2))
        try:
            cache.update(keys, values, layer)
        except (KeyError, TypeError):  # some releases want the places as well
            cache.update(keys, values, layer, {"cache_position": torch.arange(size[2], device=options.device)})
    return cache


def decode(streams, kind):
    text = model.model
    steps = SIZES["decodeSteps"] + 2
    room = SIZES["context"] + steps
    cache = filled(DynamicCache() if kind == "dynamic" else StaticCache(text.config, max_cache_len=room), streams)
    state = {"tokens": torch.full((streams, 1), 5, device=options.device)}

    def step(at):
        place = SIZES["context"] + at
        found = text(
            input_ids=state["tokens"],
            position_ids=positions(place, 1, streams),
            past_key_values=cache,
            use_cache=True,
        )
        state["tokens"] = model.lm_head(found.last_hidden_state[:, -1:]).argmax(-1)
        state["tokens"].cpu()  # a server tells its client each token

    begun = time.perf_counter()
    times = []
    for at in range(steps):
        times.append(1000 * seconds_of(lambda: step(at)))
        if at >= 4 and time.perf_counter() - begun > 6:
            break
    return {"ms": statistics.median(times[2:]), "steps": len(times) - 2}


with torch.inference_mode():
    begin = time.perf_counter()
    try:
        model = make_model()
    except Exception as error:  # noqa: BLE001
        tell("load", problem=f"{type(error).__name__}: {str(error)[:300]}")
        sys.exit(0)
    synchronise()
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    tell("load", seconds=time.perf_counter() - begin, versions=versions)
    part("vision", vision)
    part("audio", audio)
    part("prefill", prefill)
    for streams in SIZES["streams"]:
        for kind in ("dynamic", "static"):
            facts = {"streams": streams, "context": SIZES["context"], "cache": kind}
            part("decode", lambda: decode(streams, kind), **facts)
