"""Samples the script of a clip: its objects, and the visible change and the sound of each beat. A plain dict; the same seed gives the same script."""
import random

import world

LATEST_STEP = 16
EVENT_SHARE = (0.72, 0.8)      # of its beat; long enough that one pair of sampled frames lies completely inside the motion


def steps_of(duration):
    """Temporal steps that the model sees: two frames a second, two frames a step, an odd pair dropped."""
    return int(duration)


def beats_of(duration):
    """Number of beats of about two seconds, aligned with the model's steps for any duration."""
    return max(1, steps_of(duration) // 2)


def sample_geometry(rng, steps=None):
    """Duration, frame rate and size; half of the durations are whole seconds."""
    steps = steps or rng.choices(range(3, 9), (12, 26, 14, 26, 10, 12))[0]
    duration = steps + (0 if rng.random() < 0.5 or steps == LATEST_STEP else rng.randrange(1, 10) / 10)
    return dict(duration=duration, fps=rng.choice(world.FRAME_RATES), size=world.SIZES[rng.choices(list(world.SIZES), (2, 1, 1))[0]])


def sample_script(seed, duration, fps, size, most_objects=2, lines=None):
    """A script of the given geometry. `lines` are the spoken lines to choose from."""
    rng = random.Random(seed)
    background = rng.choice(list(world.BACKGROUNDS))
    objects = _sample_objects(rng, background, size, most_objects)
    script = dict(seed=seed, duration=duration, fps=fps, size=list(size), background=background, texture=rng.choice(world.TEXTURES),
                  text=rng.choice(world.SCREEN_WORDS) if rng.random() < 0.25 else None, objects=objects, events=[])
    silent = rng.random() < 0.06
    stage = _Stage(objects, world.is_tall(size))
    beats = beats_of(duration)
    for beat in range(beats):
        seen, heard = rng.choices(((1, 0), (0, 1), (1, 1)), (30, 20, 50))[0]
        if seen or silent:
            event = stage.act(rng, last=beat >= beats - 2)
            if event:
                script['events'].append(dict(event, kind='visual', beat=beat, **_span(rng, beat, duration / beats)))
        if heard and not silent:
            script['events'].append(dict(_sample_sound(rng, lines), beat=beat, start=(beat + rng.uniform(0.02, 0.15)) * duration / beats))
    script['objects'] = [o for i, o in enumerate(objects) if not o['hidden'] or any(e.get('object') == i for e in script['events'])]
    return script


def _sample_objects(rng, background, size, most):
    count = rng.choices(range(1, most + 1), (45, 45, 10)[:most])[0]
    colors = rng.sample([c for c in world.COLORS if c not in world.HARD_TO_SEE.get(background, ())], count)
    slots = sorted(rng.sample(range(3), count))
    # A hidden object is the last in the list, so that leaving it out does not change the index of another.
    hidden = count > 1 and rng.random() < 0.25
    return [dict(color=colors[i], shape=rng.choice(world.SHAPES), size=rng.choice(list(world.RADII)), slot=slots[i],
                 shift=[rng.uniform(-0.02, 0.02), rng.uniform(-0.05, 0.05)], hidden=hidden and i == count - 1) for i in range(count)]


def _span(rng, beat, seconds):
    share = rng.uniform(*EVENT_SHARE)
    start = (beat + rng.uniform(0.03, 0.97 - share)) * seconds
    return dict(start=start, end=start + share * seconds)


def _sample_sound(rng, lines):
    if rng.random() < 0.5:
        return dict(kind='speech', speaker=rng.choice(list(world.SPEAKERS)), text=rng.choice(lines or ['hello']))
    return dict(kind='sound', sound=rng.choice(list(world.SOUNDS)))


class _Stage:
    """Draws visual changes. No object leaves the picture, covers another, or changes after it has vanished."""

    def __init__(self, objects, tall):
        self.objects, self.tall = objects, tall
        self.taken = {o['slot'] for o in objects}
        self.done, self.shown = set(), {i for i, o in enumerate(objects) if not o['hidden']}
        self.across, self.scale, self.moved = {}, {}, set()

    def act(self, rng, last):
        """The next visual event, or None when every object has ended."""
        live = [i for i in range(len(self.objects)) if i not in self.done]
        if not live:
            return None
        who = rng.choice(live)
        verb = 'appear' if who not in self.shown else rng.choice(self._verbs(who, last or len(live) > 1))
        event = dict(object=who, verb=verb)
        if verb == 'recolor':
            event['to'] = rng.choice([c for c in world.COLORS if c not in {o['color'] for o in self.objects}])
        self._note(who, verb)
        return event

    def _along(self):
        return ('up', 'down') if self.tall else ('left', 'right')

    def _verbs(self, who, may_end):
        thing = self.objects[who]
        back, forth = ('left', 'right') if self.tall else ('up', 'down')
        verbs = ['spin', 'spin'] if thing['shape'] != 'circle' else []
        verbs += [back] * (self.across.get(who, 0) > -1) + [forth] * (self.across.get(who, 0) < 1)
        verbs += ['shrink'] * (self.scale.get(who, 0) > -1) + ['grow'] * (self.scale.get(who, 0) < 1)
        for verb, step in zip(self._along(), (-1, 1)):
            free = who not in self.moved and 0 <= thing['slot'] + step <= 2 and thing['slot'] + step not in self.taken
            verbs += [verb, verb] * free
        return verbs + ['vanish', 'recolor'] * may_end

    def _note(self, who, verb):
        self.shown.add(who)
        if verb in ('vanish', 'recolor'):
            self.done.add(who)
        elif verb in self._along():
            self.moved.add(who)
            self.taken.add(self.objects[who]['slot'] + (1 if verb in ('right', 'down') else -1))
        elif verb in ('left', 'up', 'right', 'down'):
            self.across[who] = self.across.get(who, 0) + (1 if verb in ('right', 'down') else -1)
        elif verb in ('grow', 'shrink'):
            self.scale[who] = self.scale.get(who, 0) + (1 if verb == 'grow' else -1)
