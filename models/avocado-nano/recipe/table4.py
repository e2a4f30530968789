"""The paper's Table 4 in small, on the hard level: what GRPO wins on a supervised model with one, two and all three rewards, against more
supervised training on the same clips.

usage: python table4.py WORK STATE 'CLIPS/*.safetensors' 'EVAL/*.safetensors' [--minutes M] [--seeds 1,2] [--rate R]
Each arm takes M minutes (training.Clock) from STATE on CLIPS (the paper's 2K samples). Arms that are done are kept: start it again to go on.
Seeds can run side by side in the same WORK, one thread each (OMP_NUM_THREADS=1): start it once more with all of them. Writes WORK/table4.md.
"""
import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

RECIPE = pathlib.Path(__file__).resolve().parent
ROOT = RECIPE.parents[2]
MOST_TOKENS, LENGTHS = 384, ('256', '384')
ARMS = {'SFT-2K': None, 'GRPO R_D': 'R_D', 'GRPO R_D + R_C': 'R_D,R_C', 'GRPO R_D + R_C + R_L': 'R_D,R_C,R_L'}
COLUMNS = ('recall', 'static', 'dynamic', 'auditory', 'spatio_temporal', 'cross_modal', 'false_claims', 'dialogue_reward', 'collapsed', 'tokens')
STEPS_AT_ONCE = '160'


def run(*command, cwd=RECIPE):
    """A command that must succeed; returns what it printed."""
    return subprocess.run(list(map(str, command)), cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def tsx(script, *arguments):
    """A TypeScript program of the project."""
    return ['node', ROOT / 'node_modules/tsx/dist/cli.mjs', ROOT / script, *arguments]


class RewardService:
    """`avocado reward` while the arms run."""

    def __enter__(self):
        with socket.create_server(('127.0.0.1', 0)) as free:
            url = f'http://127.0.0.1:{free.getsockname()[1]}'
        flags = ['reward', '--port', url.split(':')[-1], '--length-from', LENGTHS[0], '--length-to', LENGTHS[1]]
        self.child = subprocess.Popen(list(map(str, tsx('src/cli/main.ts', *flags))), cwd=ROOT, stdout=subprocess.DEVNULL)
        for _ in range(120):
            try:
                urllib.request.urlopen(f'{url}/healthz', timeout=2)
                return url
            except OSError:
                time.sleep(0.5)
        raise SystemExit('The reward service did not start.')

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()


def train(directory, arm, seed, options, rewards):
    """Runs one arm, unless it is done."""
    if (directory / 'weights.pt').exists():
        return
    common = [directory, *([] if ARMS[arm] is None else [100_000]), *([options.minutes] if ARMS[arm] is None else []), options.clips]
    if ARMS[arm] is None:
        run(sys.executable, 'train.py', *common, '--hard', '--state', options.state, '--rate', options.rate_sft, '--steps-at-once', STEPS_AT_ONCE,
            '--towers-alone', 0, '--decoder-alone', '--seed', seed, '--capacity', 60)
    else:
        run(sys.executable, 'grpo.py', *common, '--state', options.state, '--rewards', rewards, '--use', ARMS[arm], '--seed', seed,
            '--minutes', options.minutes, '--most-tokens', MOST_TOKENS, '--rate', options.rate)


def score(directory, weights, options):
    """The scores of a trained state on the evaluation clips."""
    said, scores = directory / 'said.jsonl', directory / 'scores.json'
    if not scores.exists():
        run(sys.executable, 'evaluate.py', weights, options.eval, '--said', said)
        scores.write_text(run(*tsx('test/bench/score-captions.ts', said), cwd=ROOT).strip().splitlines()[-1])
    return json.loads(scores.read_text())


def row(name, scores):
    """A line of the table."""
    cells = [f'{scores[column]:.1f}' for column in COLUMNS]
    return f'| {name} | {" | ".join(cells)} |'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('work', type=pathlib.Path), parser.add_argument('state'), parser.add_argument('clips'), parser.add_argument('eval')
    parser.add_argument('--minutes', type=float, default=10), parser.add_argument('--seeds', default='1,2')
    parser.add_argument('--rate', type=float, default=5e-5), parser.add_argument('--rate-sft', type=float, default=1e-4)
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.state = str(pathlib.Path(options.state).resolve())
    options.work.mkdir(parents=True, exist_ok=True)
    start = options.work / 'SFT'
    start.mkdir(exist_ok=True)
    lines = [row('SFT', score(start, options.state, options))]
    with RewardService() as rewards:
        for seed in options.seeds.split(','):
            for arm in ARMS:
                directory = options.work / f'{arm.replace(" ", "")}-{seed}'
                os.makedirs(directory, exist_ok=True)
                train(directory, arm, seed, options, rewards)
                lines.append(row(f'{arm}, seed {seed}', score(directory, directory / 'weights.pt', options)))
                head = f'| | {" | ".join(COLUMNS)} |\n|---|{"---|" * len(COLUMNS)}\n'
                (options.work / 'table4.md').write_text(head + '\n'.join(lines) + '\n')
    print((options.work / 'table4.md').read_text())


if __name__ == '__main__':
    main()
