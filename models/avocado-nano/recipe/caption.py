"""The truth about a script: its reference caption, its keypoints in the paper's five categories, its dialogue."""
import world

CATEGORIES = ('static', 'dynamic', 'auditory', 'spatio-temporal', 'cross-modal')


def segments_of(script, sound=True):
    """The caption as pieces `(text, subject)`; the joined texts are the caption.

    A subject is ('object', i), ('event', n), ('words', n, from, to) of a spoken line's characters, or None.
    """
    where = world.places(script['size'])
    shown = sorted((o['slot'], i) for i, o in enumerate(script['objects']) if not o['hidden'])
    pieces = [(f"On {world.article(script['texture'])} {script['background']} background there is", None)]
    for rank, (slot, i) in enumerate(shown):
        thing = script['objects'][i]
        joint = '' if rank == 0 else ' and' if rank == len(shown) - 1 else ','
        pieces.append((f"{joint} a {thing['size']} {thing['color']} {thing['shape']} {where[slot]}", ('object', i)))
    pieces.append(('.', None))
    if script['text']:
        pieces.append((f" The word \"{script['text']}\" is shown at the top.", None))
    for beat, numbers in beats_of(script, sound):
        pieces.append((f' {world.OPENINGS[beat]},', None))
        for rank, number in enumerate(numbers):
            pieces += _event_pieces(script, number, ' while ' if rank else ' ')
        pieces.append(('.', None))
    if sound and is_silent(script):
        pieces.append((' ' + world.SILENCE, None))
    return pieces


def _event_pieces(script, number, joint):
    event, text = script['events'][number], joint + clause(script, number)
    if event['kind'] != 'speech':
        return [(text, ('event', number))]
    before, line, after = text.split('"')
    pieces, first = [(before + '"', ('event', number))], 0
    for word in line.split():
        pieces.append((' ' * (first > 0) + word, ('words', number, first, first + len(word))))
        first += len(word) + 1
    return [*pieces, ('"' + after, ('event', number))]


def caption_of(script, sound=True):
    """The reference caption."""
    return ''.join(text for text, _ in segments_of(script, sound))


def clause(script, number):
    """`the red circle moves left`, `a man says "go left"`, `a high beep is heard`."""
    event = script['events'][number]
    if event['kind'] == 'speech':
        return f"{world.SPEAKERS[event['speaker']]} says \"{event['text']}\""
    if event['kind'] == 'sound':
        return f"{world.SOUNDS[event['sound']]} is heard"
    thing = script['objects'][event['object']]
    if event['verb'] == 'appear':
        return f"a {thing['size']} {thing['color']} {thing['shape']} appears {world.places(script['size'])[thing['slot']]}"
    target = f" {event['to']}" if event['verb'] == 'recolor' else ''
    return f"the {thing['color']} {thing['shape']} {world.VERBS[event['verb']]}{target}"


def beats_of(script, sound=True):
    """(beat, numbers of its events) for every beat that the caption describes, the visible event first."""
    told = [n for n, e in enumerate(script['events']) if sound or e['kind'] == 'visual']
    beats = sorted({script['events'][n]['beat'] for n in told})
    return [(beat, [n for n in told if script['events'][n]['beat'] == beat]) for beat in beats]


def is_silent(script):
    """True when the script has no sound and no speech."""
    return all(e['kind'] == 'visual' for e in script['events'])


def keypoint_of(script, number):
    """The tuple of one event, in the form that scorer.parse returns."""
    event = script['events'][number]
    if event['kind'] == 'speech':
        return ('speech', event['speaker'], event['text'])
    if event['kind'] == 'sound':
        return ('sound', event['sound'])
    thing = script['objects'][event['object']]
    return ('act', thing['color'], thing['shape'], event['verb'], event.get('to'))


def keypoints_of(script, sound=True):
    """[(category, keypoint)]: everything that a caption of this clip should state."""
    found = [('static', ('background', script['background'], script['texture']))]
    found += [('static', ('object', o['size'], o['color'], o['shape'], world.places(script['size'])[o['slot']]))
              for o in script['objects'] if not o['hidden']]
    found += [('static', ('screen word', script['text']))] * bool(script['text'])
    beats = beats_of(script, sound)
    for _, numbers in beats:
        found += [('dynamic' if script['events'][n]['kind'] == 'visual' else 'auditory', keypoint_of(script, n)) for n in numbers]
    if sound and is_silent(script):
        found.append(('auditory', ('silence',)))
    for (_, before), (_, after) in zip(beats, beats[1:]):
        found.append(('spatio-temporal', ('order', keypoint_of(script, before[0]), keypoint_of(script, after[0]))))
    found += [('cross-modal', ('while', *(keypoint_of(script, n) for n in numbers))) for _, numbers in beats if len(numbers) == 2]
    return found


def dialogue_of(script, sound=True):
    """[(speaker, line)] in the order of the clip."""
    return [(e['speaker'], e['text']) for e in script['events'] if e['kind'] == 'speech'] if sound else []
