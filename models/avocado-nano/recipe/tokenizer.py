"""Byte-level BPE with Qwen's special tokens and pre-tokenisation, trained on the world's own captions.

usage: python tokenizer.py      writes PATH anew
"""
import functools
import pathlib
import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import caption
import labels
import prompts
import script as scripts
import speech

PATH = str(pathlib.Path(__file__).parents[1] / 'tokenizer.json')
VOCABULARY = 1024
SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|AUDIO|>', '<|audio_bos|>', '<|audio_eos|>', '<|vision_bos|>', '<|vision_eos|>',
           '<|vision_pad|>', '<|IMAGE|>', '<|VIDEO|>')
PAD, START, END, AUDIO, AUDIO_START, AUDIO_END, VISION_START, VISION_END, _, IMAGE, VIDEO = range(len(SPECIAL))
QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@functools.cache
def load(path=PATH):
    """The tokenizer at `path`."""
    return Tokenizer.from_file(path)


def _train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.decoder = normalizers.NFC(), decoders.ByteLevel()
    split = pre_tokenizers.Split(Regex(QWEN_SPLIT), 'isolated')
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=alphabet, min_frequency=2)
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def _corpus():
    rng = random.Random(7)
    lines = speech.make_lines()[0]
    for seed in range(4000):
        yield caption.caption_of(scripts.sample_script(seed, lines=lines, most_objects=3, **scripts.sample_geometry(rng, rng.randint(3, 16))))
    spoken = [f'"{word} {word}"' for word in labels.AUDIO_CLASSES[10:]]
    fixed = [f'system\n{prompts.SYSTEM}', 'user\n', 'assistant\n', *prompts.AVOCADO, *prompts.SHORT]
    yield from (spoken + fixed) * 300


if __name__ == '__main__':
    _train().save(PATH)
