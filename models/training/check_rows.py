"""Loads the files that `avocado curate --export …` wrote with the loaders of trainers: Hugging Face datasets and TRL. ms-swift and LLaMA-Factory
read their files with the same JSON loader; what they do with the rows after it is not run here.

usage: python check_rows.py SET      the --out of a curation; needs datasets and trl
"""
import json
import pathlib
import sys

from datasets import load_dataset
from trl import is_conversational

import omni

TAGS = dict(role_tag='role', content_tag='content', user_tag='user', assistant_tag='assistant', system_tag='system')


def rows_in(path):
    rows = load_dataset('json', data_files=str(path), split='train')
    print(f'{path.name}: {len(rows)} rows of {", ".join(rows.column_names)}')
    return rows


def main():
    directory = pathlib.Path(sys.argv[1])
    kept = len(omni.rows_of(directory / 'captions.jsonl'))
    swift = rows_in(directory / 'ms-swift-sft.jsonl')
    assert len(swift) == kept and swift.column_names == ['messages', 'videos']
    assert all(sum(turn['content'].count('<video>') for turn in row['messages']) == len(row['videos']) == 1 for row in swift)
    assert set(rows_in(directory / 'ms-swift-grpo.jsonl').column_names) >= {'messages', 'videos', 'solution', 'keypoints', 'dialogues'}
    trl = rows_in(directory / 'trl-sft.jsonl')
    assert len(trl) == kept and all(is_conversational(row) for row in trl)
    factory, info = rows_in(directory / 'llama-factory.json'), json.loads((directory / 'dataset_info.json').read_text())['avocado_sft']
    assert len(factory) == kept and set(info['columns'].values()) == set(factory.column_names) and info['tags'] == TAGS
    verl = rows_in(directory / 'verl-grpo.jsonl')
    assert all(json.loads(row['reward_model']['ground_truth'])['caption'] for row in verl)
    verl.to_parquet(str(directory / 'verl-grpo.parquet'))
    print('every row is read')


if __name__ == '__main__':
    main()
