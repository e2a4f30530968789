"""The client of the reward service, against a fake service, and the arithmetic of GRPO."""
import http.server
import json
import os
import pathlib
import threading

import pytest

import dialogue
import repetition
import rewards

GOLDEN = pathlib.Path(os.environ.get('AVOCADO_GOLDEN', 'golden'))
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason='AVOCADO_GOLDEN does not name the folder of fixtures')


def fixture(name):
    return json.loads((GOLDEN / name).read_text())


@needs_golden
def test_similarity_is_that_of_the_fixtures():
    for row in fixture('rewards.json')['similarity']:
        assert dialogue.levenshtein(row['a'], row['b']) == row['lev']
        assert dialogue.similarity(row['a'], row['b']) == pytest.approx(row['sim'])


@needs_golden
def test_alignment_finds_the_best_pairs_in_order():
    for row in fixture('rewards.json')['dp']:
        total, pairs = dialogue.align(row['S'])
        assert total == pytest.approx(row['score']) and [[i + 1, j + 1] for i, j in pairs] == row['pairs']


@needs_golden
def test_dialogue_f1_follows_equation_7():
    for row in fixture('rewards.json')['rd']:
        assert dialogue.dialogue_f1(row['N'], row['M'], row.get('content', 0), row.get('speaker', 0)) == pytest.approx(row['value'])


@needs_golden
def test_dialogues_align_as_in_the_reference():
    for row in fixture('dialogue.json')['rows']:
        matrix = [[dialogue.similarity(g, r) for r in row['reference']] for g in row['generated']]
        content, pairs = dialogue.align(matrix, row['gamma'])
        assert content == pytest.approx(row['content_score']) and [[i + 1, j + 1] for i, j in pairs] == row['pairs_1_based']
        value = dialogue.dialogue_f1(len(row['generated']), len(row['reference']), content, row['speaker_score'])
        assert value == pytest.approx(row['value'])


class Service(http.server.BaseHTTPRequestHandler):
    """Gives each caption its number of tokens as reward, and refuses a batch with the caption 'bad'."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['content-length'])))
        self.server.asked.append((self.path, body))
        if any(item['completion'] == 'bad' for item in body['items']):
            return self.answer(400, {'error': {'code': 'bad_request', 'message': 'items[0] is wrong.'}})
        scored = [dict({name: {'value': None if item['completion'] == '' else item['completion_tokens']} for name in body['rewards']},
                       total=sum(body['weights']) * item['completion_tokens'], errors=[]) for item in body['items']]
        return self.answer(200, {'items': scored})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header('content-length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
    server.asked, server.url = [], f'http://127.0.0.1:{server.server_port}'
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_batch_is_one_request_and_comes_back_in_its_order(service):
    given = rewards.Rewards(service.url).of(['one', '', 'three'], [10, 20, 30], ['a', 'b', 'c'], {'R_P': 0.5})
    assert given[0] == dict(R_C=10, R_D=10, R_L=10, R_P=10, total=35) and [row['R_L'] for row in given] == [10, None, 30]
    (path, body), = service.asked
    assert path == '/v1/rewards' and body['rewards'] == ['checklist', 'dialogue', 'length', 'precision'] and body['weights'] == [1, 1, 1, 0.5]
    assert body['items'][2] == dict(completion='three', completion_tokens=30, reference=dict(caption='c'))


def test_only_the_rewards_that_are_named_are_asked_for(service):
    assert rewards.Rewards(service.url + '/', ('R_C', 'R_L')).of(['one'], [7], ['a']) == [dict(R_C=7, R_L=7, total=14)]


def test_what_is_too_much_for_one_request_is_sent_in_several(service):
    given = rewards.Rewards(service.url).of(['x'] * 2001, range(2001), ['a'] * 2001)
    assert [row['R_C'] for row in given] == list(range(2001)) and [len(body['items']) for _, body in service.asked] == [1000, 1000, 1]


def test_a_refusal_is_told_in_the_words_of_the_service(service):
    with pytest.raises(RuntimeError, match='400.*bad_request'):
        rewards.Rewards(service.url).of(['bad'], [1], ['a'])
    assert len(service.asked) == 1


def test_a_service_that_is_not_there_is_waited_for_and_then_named(monkeypatch):
    monkeypatch.setattr(rewards, 'PAUSE', 0.01)
    with pytest.raises(ConnectionError, match='avocado reward --port'):
        rewards.Rewards('http://127.0.0.1:9').of(['x'], [1], ['a'])


@pytest.mark.parametrize('counts', [[1], [1, 2, 3]])
def test_lists_of_different_lengths_are_a_mistake(counts):
    with pytest.raises(ValueError):
        rewards.Rewards('http://127.0.0.1:9').of(['x', 'y'], counts, ['a', 'b'])


def test_advantages_use_the_unbiased_deviation_and_vanish_in_equal_groups():
    torch, grpo = pytest.importorskip('torch'), pytest.importorskip('grpo')
    given = torch.tensor([[2.9, 2.75, 2.6, 2.6, 2.45, 2.3, 1.95, 0.85], [2.7] * 8], dtype=torch.float64)
    expected = [0.9179, 0.6884, 0.459, 0.459, 0.2295, 0, -0.5354, -2.2183]
    assert grpo.advantages(given)[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert grpo.advantages(given)[1].tolist() == pytest.approx([0] * 8, abs=1e-4)


@pytest.mark.parametrize('text, loops', [
    ('The camera remains static. ' * 40, True), ('At first, the red circle spins. ' * 6, True),
    ('Ha ha ha ha ha ha ha ha!', False), ('On a plain gray background there is a small red circle on the left.', False)])
def test_loops_are_found(text, loops):
    assert repetition.collapsed(text) is loops
