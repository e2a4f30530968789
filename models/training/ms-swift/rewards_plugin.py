"""Rewards of `avocado reward` for ms-swift: --external_plugins rewards_plugin.py --reward_funcs avocado_checklist avocado_dialogue avocado_length

AVOCADO_REWARDS is the address of the service. Columns of the rows: solution (reference caption), keypoints, dialogues. A reward that the service
could not give is None, which ms-swift leaves out of the sum.
"""
import asyncio
import os
import pathlib
import sys

try:
    from swift.rewards import AsyncORM, orms      # ms-swift 4
except ImportError:
    from swift.plugin import AsyncORM, orms       # ms-swift 3

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from rewards import Rewards  # noqa: E402


class _Reward(AsyncORM):
    name = ''

    async def __call__(self, completions, solution, keypoints=None, dialogues=None, response_token_ids=None, **kwargs):
        service = Rewards(os.environ.get('AVOCADO_REWARDS', 'http://127.0.0.1:8101'))
        items = []
        for index, completion in enumerate(completions):
            reference = dict(caption=solution[index], keypoints=keypoints and keypoints[index], dialogues=dialogues and dialogues[index])
            item = dict(completion=completion, reference={key: value for key, value in reference.items() if value is not None})
            if response_token_ids is not None:
                item['completion_tokens'] = len(response_token_ids[index])
            items.append(item)
        try:
            return (await asyncio.to_thread(service.post, f'/v1/rewards/{self.name}', dict(items=items)))['values']
        except (ConnectionError, RuntimeError) as error:
            print(f'rewards {self.name}: {error}', file=sys.stderr, flush=True)
            return [None] * len(completions)


for reward in ('checklist', 'dialogue', 'length'):
    orms[f'avocado_{reward}'] = type(f'Avocado{reward.title()}', (_Reward,), dict(name=reward))
