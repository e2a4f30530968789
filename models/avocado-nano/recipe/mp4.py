"""Writes clips of the world as mp4 files (H.264, AAC), each with its truth in a JSON file: the test set of the finished model.

usage: python mp4.py BANK DIRECTORY FIRST_SEED CLIPS [--steps N ...]
Spoken lines are those held out from training; every tenth clip has no sound track.
"""
import argparse
import json
import os
import random
import subprocess
import tempfile
import wave as wav

import numpy as np

import caption
import render
import script as scripts
import sound
import speech
import world

LONG_SHARE, TRACKLESS = 0.3, 10      # share of clips of 9 to 16 s; one clip in so many has no sound track


def write(script, bank, path, track=True):
    """Encodes the clip as an mp4 file."""
    size, total = script['size'], round(script['duration'] * script['fps'])
    with tempfile.TemporaryDirectory() as folder:
        heard = []
        if track:
            waveform, _ = sound.soundtrack(script, bank)
            with wav.open(f'{folder}/sound.wav', 'wb') as file:
                file.setnchannels(1), file.setsampwidth(2), file.setframerate(world.SAMPLE_RATE)
                file.writeframes((waveform * 32767).astype(np.int16).tobytes())
            heard = ['-i', f'{folder}/sound.wav', '-c:a', 'aac', '-b:a', '64k']
        command = ['ffmpeg', '-y', '-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{size[0]}x{size[1]}',
                   '-r', str(script['fps']), '-i', '-', *heard, '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '20', '-pix_fmt', 'yuv420p', path]
        frames = b''.join(render.frame_at(script, k / script['fps']).round().astype(np.uint8).tobytes() for k in range(total))
        subprocess.run(command, input=frames, check=True)


def truth_of(script, track):
    """The truth about a clip for scorers: its caption, dialogue, keypoints and script."""
    return dict(caption=caption.caption_of(script, track), dialogue=caption.dialogue_of(script, track),
                keypoints=caption.keypoints_of(script, track), track=track, script=script)


def sample(seed, lines, steps=None):
    """A script with the distribution of the test set: 3 to 16 s, up to three objects."""
    rng = random.Random(seed)
    steps = rng.choice(steps or (range(9, 17) if rng.random() < LONG_SHARE else range(3, 9)))
    return scripts.sample_script(seed, **scripts.sample_geometry(rng, steps), most_objects=3, lines=lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('bank'), parser.add_argument('directory'), parser.add_argument('seed', type=int), parser.add_argument('clips', type=int)
    parser.add_argument('--steps', type=int, nargs='*')
    options = parser.parse_args()
    os.makedirs(options.directory, exist_ok=True)
    bank = speech.Bank(options.bank)
    for seed in range(options.seed, options.seed + options.clips):
        script, track = sample(seed, bank.held_out, options.steps), seed % TRACKLESS > 0
        write(script, bank, f'{options.directory}/clip{seed}.mp4', track)
        with open(f'{options.directory}/clip{seed}.json', 'w') as file:
            json.dump(truth_of(script, track), file, indent=1)


if __name__ == '__main__':
    main()
