"""One SFT step and one GRPO step on a tiny checkpoint, on a CPU, and the result served by this project with the tokens of transformers.

usage: python check.py CHECKPOINT      after `npm run build`; needs torch, transformers, trl, datasets, and ffmpeg on the path
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import torch
from safetensors.torch import load_file

import omni

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / 'models/avocado-nano/examples'
CLIPS = ('square-4s.mp4', 'wide-6s.mp4')
AVOCADO = ['node', str(ROOT / 'dist/cli/main.js')]
PORT, TOKENS = 8177, 24


def run(*command):
    print('+', *command, flush=True)
    done = subprocess.run([str(part) for part in command], cwd=HERE, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f'{done.stdout[-3000:]}\n{done.stderr[-3000:]}')
    return done.stdout


def write_rows(path):
    """Rows of ms-swift's shape from the sample clips and their true captions."""
    truths = json.loads((EXAMPLES / 'captions.json').read_text())
    rows = [dict(messages=[dict(role='system', content='You are a helpful assistant.'), dict(role='user', content='<video>Describe this video.'),
                           dict(role='assistant', content=truths[name]['caption'])], videos=[str(EXAMPLES / name)], solution=truths[name]['caption'])
            for name in CLIPS]
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))


def weights(directory):
    """Weights by name without the prefix of a whole Omni checkpoint."""
    found = {}
    for path in pathlib.Path(directory).glob('*.safetensors'):
        found |= {name.removeprefix('thinker.'): value.float() for name, value in load_file(path).items()}
    return found


def compare(stage, before, after):
    """The encoders must be as they were, the rest must not."""
    old, new = weights(before), weights(after)
    assert old.keys() == new.keys(), sorted(old.keys() ^ new.keys())[:10]
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    frozen = {name for name in old if name.startswith(('visual.', 'audio_tower.')) and not name.startswith(omni.ADAPTERS)}
    assert not changed & frozen, sorted(changed & frozen)[:10]
    assert any(name.startswith('model.') for name in changed) and any(name.startswith(omni.ADAPTERS) for name in changed), sorted(changed)[:10]
    print(f'{stage}: {len(changed)} of {len(old)} tensors changed, none of the {len(frozen)} frozen ones')


def wait_for_rewards(process):
    while process.poll() is None:
        try:
            return urllib.request.urlopen(f'http://127.0.0.1:{PORT}/healthz', timeout=1)
        except OSError:
            continue
    sys.exit('The reward service ended.')


def served_tokens(checkpoint, work):
    """(tokens of `avocado caption`, tokens of transformers from the numbers of `avocado inspect --dump`) for a clip with sound."""
    clip, dump = str(EXAMPLES / CLIPS[0]), work / 'inputs.safetensors'
    answer = json.loads(run(*AVOCADO, 'caption', clip, '--model', checkpoint, '--json', '--token-ids', '--max-tokens', str(TOKENS)))
    run(*AVOCADO, 'inspect', clip, '--model', checkpoint, '--dump', dump, '--stage', 'features')
    tensors = load_file(dump)
    model, _ = omni.load(checkpoint, 'cpu', torch.float32)
    ids = tensors['input_ids'].long().view(1, -1)
    heard = tensors['input_features'].float()[None]
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values_videos=tensors['pixel_values_videos'].float(),
                  video_grid_thw=tensors['video_grid_thw'].long(), video_second_per_grid=tensors['second_per_grid'].float(),
                  input_features=heard, feature_attention_mask=torch.ones(1, heard.shape[-1], dtype=torch.long), use_audio_in_video=True)
    with torch.no_grad():
        written = model.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)
    return answer['token_ids'], written[0, ids.shape[1]:].tolist()


def main():
    checkpoint = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        rows, sft, grpo = work / 'rows.jsonl', work / 'sft', work / 'grpo'
        write_rows(rows)
        run(sys.executable, 'sft.py', checkpoint, rows, sft, '--steps', 1, '--batch', 2, '--device', 'cpu')
        compare('SFT', checkpoint, sft)
        service = subprocess.Popen([*AVOCADO, 'reward', '--port', str(PORT), '--length-from', '4', '--length-to', '64'], cwd=ROOT)
        try:
            wait_for_rewards(service)
            log = run(sys.executable, 'grpo.py', sft, rows, grpo, '--rewards', f'http://127.0.0.1:{PORT}', '--steps', 1, '--prompts', 2,
                      '--most-tokens', 32, '--device', 'cpu')
        finally:
            service.terminate()
            service.wait()
        row = json.loads(log.splitlines()[-1])
        assert row['gradient'] > 0 and any(len(set(totals)) > 1 for totals in row['totals']), row
        print('GRPO:', json.dumps(row))
        compare('GRPO', sft, grpo)
        ours, theirs = served_tokens(grpo, work)
        assert ours == theirs, (ours, theirs)
        print(f'served: {len(ours)} tokens, equal to transformers')


if __name__ == '__main__':
    main()
