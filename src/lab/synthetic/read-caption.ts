import { WORLD, type Table } from './vocabulary.ts';

export interface Background {
  readonly type: 'background';
  readonly background: string;
  readonly texture: string;
}
export interface Thing {
  readonly type: 'object';
  readonly size: string;
  readonly color: string;
  readonly shape: string;
  readonly place: string;
}
export interface ScreenWord {
  readonly type: 'screen-word';
  readonly word: string;
}
export interface Silence {
  readonly type: 'silence';
}
/** What stays true for the whole clip. */
export type Fact = Background | Thing | ScreenWord | Silence;

/** `verb` is a key of WORLD.verbs; `to` is the colour of a recolor. */
export interface Act {
  readonly type: 'act';
  readonly color: string;
  readonly shape: string;
  readonly verb: string;
  readonly to?: string;
}
/** `sound` is a key of WORLD.sounds. */
export interface Sound {
  readonly type: 'sound';
  readonly sound: string;
}
/** `speaker` is a key of WORLD.speakers. */
export interface Speech {
  readonly type: 'speech';
  readonly speaker: string;
  readonly content: string;
}
/** What happens in one beat. */
export type Event = Act | Sound | Speech;

/** What a caption tells: its facts, and for every sentence that tells events those events, all in its own order. */
export interface ReadCaption {
  readonly facts: readonly Fact[];
  readonly beats: readonly (readonly Event[])[];
}

const any = (words: readonly string[]): string => words.join('|');
const named = (table: Table<string>): Table<string> =>
  Object.fromEntries(Object.entries(table).map(([name, text]) => [text, name]));

const COLOR = any(Object.keys(WORLD.colors));
const SHAPE = any(WORLD.shapes);
const SIZE = any(Object.keys(WORLD.radii));
const PLACE = any([...WORLD.places.wide, ...WORLD.places.tall]);
const VERBS = named(WORLD.verbs);
const SOUNDS = named(WORLD.sounds);
const SPEAKERS = named(WORLD.speakers);

const SENTENCE_END = /(?<=\.)\s+/;
const BACKGROUND = new RegExp(`an? (${any(WORLD.textures)}) (${any(Object.keys(WORLD.backgrounds))}) background`, 'g');
const OBJECT = new RegExp(`a (${SIZE}) (${COLOR}) (${SHAPE}) (${PLACE})`, 'g');
const SCREEN_WORD = /The word "([^"]*)"/g;
const ACT = new RegExp(`the (${COLOR}) (${SHAPE}) (${any(Object.keys(VERBS))})(?: (${COLOR}))?\\b`, 'g');
const APPEARS = new RegExp(`a (?:${SIZE}) (${COLOR}) (${SHAPE}) appears (?:${PLACE})`, 'g');
const SOUND = new RegExp(`(${any(Object.keys(SOUNDS))}) is heard`, 'g');
const SPEECH = new RegExp(`(${any(Object.keys(SPEAKERS))}) says "([^"]*)"`, 'g');

/** Every match of a pattern, as `make` of its groups. */
function all<T>(
  text: string,
  pattern: RegExp,
  make: (...groups: (string | undefined)[]) => T,
): { at: number; found: T }[] {
  return [...text.matchAll(pattern)].map((match) => ({ at: match.index, found: make(...match.slice(1)) }));
}

function eventsOf(sentence: string): Event[] {
  const found = [
    ...all<Event>(sentence, ACT, (color = '', shape = '', text = '', to = '') => {
      const verb = VERBS[text] ?? '';
      return { type: 'act', color, shape, verb, ...(verb === 'recolor' && to !== '' ? { to } : {}) };
    }),
    ...all<Event>(sentence, APPEARS, (color = '', shape = '') => ({ type: 'act', color, shape, verb: 'appear' })),
    ...all<Event>(sentence, SOUND, (text = '') => ({ type: 'sound', sound: SOUNDS[text] ?? '' })),
    ...all<Event>(sentence, SPEECH, (text = '', content = '') => ({
      type: 'speech',
      speaker: SPEAKERS[text] ?? '',
      content,
    })),
  ];
  return found.sort((one, other) => one.at - other.at).map(({ found: event }) => event);
}

function factsOf(sentence: string): Fact[] {
  const found = [
    ...all<Fact>(sentence, BACKGROUND, (texture = '', background = '') => ({
      type: 'background',
      background,
      texture,
    })),
    ...all<Fact>(sentence, OBJECT, (size = '', color = '', shape = '', place = '') => ({
      type: 'object',
      size,
      color,
      shape,
      place,
    })),
    ...all<Fact>(sentence, SCREEN_WORD, (word = '') => ({ type: 'screen-word', word })),
  ].map(({ found: fact }) => fact);
  return sentence === WORLD.silence ? [...found, { type: 'silence' }] : found;
}

/** Reads a caption of the world; what is not worded as its captions are is passed over. A sentence tells either events or facts. */
export function readCaption(text: string): ReadCaption {
  const facts: Fact[] = [];
  const beats: Event[][] = [];
  for (const sentence of text.trim().split(SENTENCE_END)) {
    const events = eventsOf(sentence);
    if (events.length > 0) beats.push(events);
    else facts.push(...factsOf(sentence));
  }
  return { facts, beats };
}

/** Whether a caption speaks of sound at all, if only to say that there is none. */
export function saysSound(text: string): boolean {
  return (
    text.search(SOUND) !== -1 || text.search(SPEECH) !== -1 || text.includes(WORLD.silence) || text.includes(' while ')
  );
}
