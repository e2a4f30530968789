"""Makes the model card's picture, four frames of each of three sample clips over the model's caption, and prints the card's table.

usage: npx avocado caption ../examples/*.mp4 --json > CAPTIONS.jsonl
       python make_picture.py CAPTIONS.jsonl ../card.png
"""
import json
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / 'examples'
CLIPS = ('wide-6s.mp4', 'portrait-5s.mp4', 'long-10s.mp4')
FRAMES, HIGH, GAP, WIDTH = 4, 135, 8, 1000      # frames of a clip; pixels
FONT, LINE, LETTERS = ImageFont.load_default(size=15), 20, 150


def frames_of(name, seconds):
    """Frames from the middle of `count` equal parts of a clip."""
    for part in range(FRAMES):
        moment = str((part + 0.5) * seconds / FRAMES)
        png = subprocess.run(['ffmpeg', '-v', 'error', '-ss', moment, '-i', str(EXAMPLES / name), '-frames:v', '1', '-vf', f'scale=-2:{HIGH}',
                              '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'], capture_output=True, check=True).stdout
        yield Image.fromarray(np.frombuffer(png, np.uint8).reshape(HIGH, -1, 3))


def picture(truths, told):
    """All clips, one below the other."""
    texts = {name: textwrap.wrap(told[name], LETTERS) for name in CLIPS}
    high = sum(HIGH + LINE * len(lines) + 3 * GAP for lines in texts.values())
    sheet = Image.new('RGB', (WIDTH, high + GAP), 'white')
    draw, top = ImageDraw.Draw(sheet), GAP
    for name, lines in texts.items():
        left = GAP
        for frame in frames_of(name, truths[name]['seconds']):
            sheet.paste(frame, (left, top))
            left += frame.width + GAP
        for row, line in enumerate(lines):
            draw.text((GAP, top + HIGH + GAP // 2 + row * LINE), line, 'black', FONT)
        top += HIGH + LINE * len(lines) + 3 * GAP
    return sheet


def main():
    truths = json.loads((EXAMPLES / 'captions.json').read_text())
    answers = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
    told = {pathlib.Path(answer['file']).name: answer['caption'] for answer in answers}
    picture(truths, told).save(sys.argv[2], optimize=True)
    print('| clip | what is in it | avocado-nano |\n|---|---|---|')
    for name, truth in truths.items():
        same = told[name] == truth['caption']
        print(f"| {name}: {truth['kind']} | {truth['caption']} | {'the same words' if same else told[name]} |")


if __name__ == '__main__':
    main()
