"""Writes a clip of the world as an mp4 file (H.264, AAC) with its truth beside it.

usage: python mp4.py BANK.npz SEED OUT.mp4 [--steps N] [--no-track]
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


def write(script, bank, path, track=True):
    """The clip as a player would get it."""
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('bank'), parser.add_argument('seed', type=int), parser.add_argument('out')
    parser.add_argument('--steps', type=int), parser.add_argument('--no-track', action='store_true')
    options = parser.parse_args()
    bank = speech.Bank(options.bank)
    geometry = scripts.sample_geometry(random.Random(options.seed), options.steps)
    script, track = scripts.sample_script(options.seed, lines=bank.held_out, **geometry), not options.no_track
    write(script, bank, options.out, track)
    truth = dict(caption=caption.caption_of(script, track), dialogue=caption.dialogue_of(script, track),
                 keypoints=caption.keypoints_of(script, track), track=track, script=script)
    with open(os.path.splitext(options.out)[0] + '.json', 'w') as file:
        json.dump(truth, file, indent=1)


if __name__ == '__main__':
    main()
