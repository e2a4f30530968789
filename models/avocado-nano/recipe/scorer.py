"""Reads a caption back into facts and compares them exactly with the truth, so no judge is needed."""
import re

import caption
import dialogue
import world

COLOR, SHAPE, SIZE = '|'.join(world.COLORS), '|'.join(world.SHAPES), '|'.join(world.RADII)
WHERE = '|'.join(place for places in world.PLACES.values() for place in places)
BY_VERB = {text: verb for verb, text in world.VERBS.items()}
BY_SOUND = {text: sound for sound, text in world.SOUNDS.items()}
BY_SPEAKER = {text: speaker for speaker, text in world.SPEAKERS.items()}

BACKGROUND = re.compile(rf"an? ({'|'.join(world.TEXTURES)}) ({'|'.join(world.BACKGROUNDS)}) background")
OBJECT = re.compile(rf'a ({SIZE}) ({COLOR}) ({SHAPE}) ({WHERE})')
SCREEN_WORD = re.compile(r'The word "([^"]*)"')
ACT = re.compile(rf"the ({COLOR}) ({SHAPE}) ({'|'.join(BY_VERB)})(?: ({COLOR}))?\b")
APPEARS = re.compile(rf'a ({SIZE}) ({COLOR}) ({SHAPE}) appears ({WHERE})')
SOUND = re.compile(rf"({'|'.join(BY_SOUND)}) is heard")
SPEECH = re.compile(rf"({'|'.join(BY_SPEAKER)}) says \"([^\"]*)\"")


def parse(text):
    """(static facts, beats): a beat is the list of events in one sentence, in its order."""
    facts, beats = [], []
    for sentence in re.split(r'(?<=\.)\s+', text.strip()):
        events = _events(sentence)
        if events:
            beats.append([event for _, event in sorted(events, key=lambda found: found[0])])
            continue
        facts += [('background', name, texture) for texture, name in BACKGROUND.findall(sentence)]
        facts += [('object', *found) for found in OBJECT.findall(sentence)]
        facts += [('screen word', word) for word in SCREEN_WORD.findall(sentence)]
        facts += [('silence',)] * (sentence == world.SILENCE)
    return facts, beats


def _events(sentence):
    found = [(m.start(), ('act', m[1], m[2], BY_VERB[m[3]], m[4] if m[3] == world.VERBS['recolor'] else None)) for m in ACT.finditer(sentence)]
    found += [(m.start(), ('act', m[2], m[3], 'appear', None)) for m in APPEARS.finditer(sentence)]
    found += [(m.start(), ('sound', BY_SOUND[m[1]])) for m in SOUND.finditer(sentence)]
    return found + [(m.start(), ('speech', BY_SPEAKER[m[1]], m[2])) for m in SPEECH.finditer(sentence)]


def same(told, truth):
    """Equal; of spoken lines, the same speaker and words as similar as the dialogue reward requires."""
    if told[0] == truth[0] == 'speech':
        return told[1] == truth[1] and dialogue.similarity(told[2], truth[2]) >= dialogue.SIMILAR
    return told == truth


def score(text, script, sound=True):
    """Hits and totals: {'category': {name: (hit, total)}, 'claims': (false, total), 'skills': {...}, 'dialogue': R_D or None}."""
    facts, beats = parse(text)
    told = facts + [event for beat in beats for event in beat]
    unclaimed, categories, recalled = list(told), {name: [0, 0] for name in caption.CATEGORIES}, 0
    keypoints = caption.keypoints_of(script, sound)
    for category, truth in keypoints:
        if truth[0] in ('order', 'while'):
            hit = _together(beats, truth) if truth[0] == 'while' else _in_order(beats, truth)
        else:
            match = next((k for k, claim in enumerate(unclaimed) if same(claim, truth)), None)
            hit = match is not None
            if hit:
                unclaimed.pop(match)
        categories[category][0] += hit
        categories[category][1] += 1
        recalled += hit
    lines, truth = [(e[1], e[2]) for e in told if e[0] == 'speech'], caption.dialogue_of(script, sound)
    return dict(categories=categories, recall=recalled / len(keypoints), claims=(len(unclaimed), len(told)), skills=_skills(told, keypoints),
                dialogue=dialogue.dialogue_reward(lines, truth) if lines or truth else None)


def _at(beats, event):
    return [k for k, beat in enumerate(beats) for told in beat if same(told, event)]


def _in_order(beats, truth):
    before, after = _at(beats, truth[1]), _at(beats, truth[2])
    return bool(before and after) and min(before) < max(after)


def _together(beats, truth):
    return bool(set(_at(beats, truth[1])) & set(_at(beats, truth[2])))


def _skills(told, keypoints):
    """Single skills; each ignores errors in what it does not test."""
    truths = [truth for _, truth in keypoints]
    objects, acts = [t for t in told if t[0] == 'object'], [t for t in told if t[0] == 'act']
    lines = [t for t in told if t[0] == 'speech']
    share = lambda kind, hit: (sum(hit(t) for t in truths if t[0] == kind), sum(t[0] == kind for t in truths))
    return {'background': share('background', lambda t: t in told), 'color': share('object', lambda t: any(o[2] == t[2] for o in objects)),
            'shape': share('object', lambda t: any(o[2:4] == t[2:4] for o in objects)),
            'size': share('object', lambda t: any(o[1:4] == t[1:4] for o in objects)),
            'place': share('object', lambda t: any(o[2:] == t[2:] for o in objects)), 'screen word': share('screen word', lambda t: t in told),
            'verb': share('act', lambda t: any(a[3] == t[3] for a in acts)), 'verb with object': share('act', lambda t: t in acts),
            'sound': share('sound', lambda t: t in told), 'speaker': share('speech', lambda t: any(line[1] == t[1] for line in lines)),
            'line': share('speech', lambda t: any(line[2] == t[2] for line in lines)), 'silence': share('silence', lambda t: t in told)}


def says_sound(text):
    """True when a caption mentions sound, or states that there is none."""
    return bool(SOUND.search(text) or SPEECH.search(text) or world.SILENCE in text or ' while ' in text)
