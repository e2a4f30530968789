"""The client of the reward service, for trainers: `Rewards` as nano's recipe has it, with references that are whole objects."""
import json
import time
import urllib.error
import urllib.request

NAMES = {'R_C': 'checklist', 'R_D': 'dialogue', 'R_L': 'length'}
WAIT = 330         # seconds; longer than the service's own deadline, so that the service times out first
TRIES, PAUSE = 5, 2.0


class Rewards:
    """The service at `url`; needs only Python's standard library."""

    def __init__(self, url, names=tuple(NAMES)):
        self.url, self.names = url.rstrip('/'), names

    def of(self, completions, token_counts, references):
        """One dict per caption: its rewards by name and their 'total'; None where the service could not compute one.

        Raises ConnectionError when the service cannot be reached, RuntimeError with its message when it refuses.
        """
        items = [dict(completion=text, completion_tokens=tokens, reference={key: value for key, value in reference.items() if value is not None})
                 for text, tokens, reference in zip(completions, token_counts, references, strict=True)]
        answers = self.post('/v1/rewards', dict(rewards=[NAMES[name] for name in self.names], items=items))['items']
        return [dict({name: (answer.get(NAMES[name]) or {}).get('value') for name in self.names}, total=answer['total']) for answer in answers]

    def post(self, path, body):
        """The answer. Retries while the service cannot be reached; every answer of the service is final."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {'content-type': 'application/json'})
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
