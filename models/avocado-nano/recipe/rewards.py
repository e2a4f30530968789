"""Rewards of captions, from the project's reward service: avocado reward --port N --length-from 192 --length-to 256.

The rewards are defined and tested there (src/lab/rewards); this client needs only Python's standard library.
"""
import json
import time
import urllib.error
import urllib.request

NAMES = {'R_C': 'checklist', 'R_D': 'dialogue', 'R_L': 'length', 'R_P': 'precision'}
WAIT = 330         # seconds; longer than the service's own deadline, so that the service times out first
TRIES, PAUSE = 5, 2.0
MOST_ITEMS = 1000  # per request


class Rewards:
    """The service at `url`."""

    def __init__(self, url, names=tuple(NAMES)):
        self.url, self.names = url.rstrip('/'), names

    def of(self, completions, token_counts, references, weights=None):
        """One dict per caption: its rewards by name and their weighted 'total'; None where the service could not compute one.

        `weights` maps names to numbers; a missing name has weight 1. Raises ConnectionError when the service cannot be reached, RuntimeError with
        its message when it refuses.
        """
        items = [dict(completion=text, completion_tokens=tokens, reference=dict(caption=reference))
                 for text, tokens, reference in zip(completions, token_counts, references, strict=True)]
        asked = dict(rewards=[NAMES[name] for name in self.names], weights=[(weights or {}).get(name, 1) for name in self.names])
        answers = [answer for k in range(0, len(items), MOST_ITEMS) for answer in self._post(dict(asked, items=items[k:k + MOST_ITEMS]))['items']]
        return [dict({name: answer[NAMES[name]]['value'] for name in self.names}, total=answer['total']) for answer in answers]

    def _post(self, body):
        """The answer. Retries while the service cannot be reached; every answer of the service is final."""
        request = urllib.request.Request(self.url + '/v1/rewards', json.dumps(body).encode(), {'content-type': 'application/json'})
        for left in reversed(range(TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=WAIT) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                raise RuntimeError(f'{self.url} answers {error.code}: {error.read().decode(errors="replace")}') from error
            except OSError as error:
                if not left:
                    raise ConnectionError(f'No reward service answers at {self.url}: start it with `avocado reward --port N`.') from error
                time.sleep(PAUSE)
