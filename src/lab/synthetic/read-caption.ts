// Reads captions of the synthetic world, whose wording is fixed, into facts and events.
import { WORLD, type Table } from './vocabulary.ts';

interface BackgroundFact {
  readonly type: 'background';
  readonly background: string;
  readonly texture: string;
}
export interface ObjectFact {
  readonly type: 'object';
  readonly size: string;
  readonly color: string;
  readonly shape: string;
  readonly place: string;
}
interface ScreenWord {
  readonly type: 'screen-word';
  readonly word: string;
}
interface Silence {
  readonly type: 'silence';
}
/** `figure` is a key of WORLD.hard.figures; this and what follows is of the hard level. */
export interface FigureFact {
  readonly type: 'figure';
  readonly figure: string;
  readonly place: string;
}
/** `music` is a key of WORLD.hard.music. */
interface Music {
  readonly type: 'music';
  readonly music: string;
}
/** True for the whole clip, or for a shot of it. */
export type SceneFact = BackgroundFact | ObjectFact | ScreenWord | Silence | FigureFact | Music;

/** `verb` is a key of WORLD.verbs; `to` is the new colour of a recolor. */
export interface ObjectChange {
  readonly type: 'act';
  readonly color: string;
  readonly shape: string;
  readonly verb: string;
  readonly to?: string;
}
/** `sound` is a key of WORLD.sounds. */
interface HeardSound {
  readonly type: 'sound';
  readonly sound: string;
}
/** `speaker` is a key of WORLD.speakers. */
export interface Speech {
  readonly type: 'speech';
  readonly speaker: string;
  readonly content: string;
  /** on the hard level: whether the speaker is in the picture */
  readonly view?: 'on' | 'off';
}
/** `how` is a key of WORLD.hard.transitions. A beat of its own. */
interface Transition {
  readonly type: 'transition';
  readonly how: string;
}
/** `move` is a key of WORLD.hard.cameras. */
interface CameraMove {
  readonly type: 'camera';
  readonly move: string;
}
/** `how` is a key of WORLD.hard.passes; `past` is colour and shape of an object, or a figure. */
interface Pass {
  readonly type: 'pass';
  readonly color: string;
  readonly shape: string;
  readonly how: string;
  readonly past: string;
}
interface WordChange {
  readonly type: 'word-change';
  readonly to: string;
}
interface FigureAct {
  readonly type: 'figure-act';
  readonly figure: string;
}
/** Happens in one beat. */
export type SceneEvent = ObjectChange | HeardSound | Speech | Transition | CameraMove | Pass | WordChange | FigureAct;

/** What a caption states, in its own order: its facts, and the events of each sentence that has events. */
export interface ReadCaption {
  readonly facts: readonly SceneFact[];
  readonly beats: readonly (readonly SceneEvent[])[];
}

const anyOf = (words: readonly string[]): string => words.join('|');
const nameByText = (table: Table<string>): Table<string> =>
  Object.fromEntries(Object.entries(table).map(([name, text]) => [text, name]));

const COLOR = anyOf(Object.keys(WORLD.colors));
const SHAPE = anyOf(WORLD.shapes);
const SIZE = anyOf(Object.keys(WORLD.radii));
const PLACE = anyOf([...WORLD.places.wide, ...WORLD.places.tall]);
const VERBS = nameByText(WORLD.verbs);
const SOUNDS = nameByText({ ...WORLD.sounds, ...WORLD.hard.sounds });
const CAMERAS = nameByText(WORLD.hard.cameras);
const PASSES = nameByText(WORLD.hard.passes);
const TRANSITIONS = nameByText(WORLD.hard.transitions);
const MUSIC = nameByText(WORLD.hard.music);
const FIGURE = anyOf(Object.keys(WORLD.hard.figures));

const SENTENCE_END = /(?<=\.)\s+/;
const BACKGROUND = new RegExp(
  `an? (${anyOf(WORLD.textures)}) (${anyOf(Object.keys(WORLD.backgrounds))}) background`,
  'g',
);
const OBJECT = new RegExp(`a (${SIZE}) (${COLOR}) (${SHAPE}) (${PLACE})`, 'g');
const SCREEN_WORD = /The word "([^"]*)"/g;
const CHANGE = new RegExp(`the (${COLOR}) (${SHAPE}) (${anyOf(Object.keys(VERBS))})(?: (${COLOR}))?\\b`, 'g');
const APPEARS = new RegExp(`a (?:${SIZE}) (${COLOR}) (${SHAPE}) appears (?:${PLACE})`, 'g');
const SOUND = new RegExp(`(${anyOf(Object.keys(SOUNDS))}) is heard`, 'g');
/** `a man says`; on the hard level `the man says` or `a man off screen says` */
const SPEECH = new RegExp(`\\b(a|the) (${anyOf(Object.keys(WORLD.speakers))})( off screen)? says "([^"]*)"`, 'g');
const FIGURE_AT = new RegExp(`\\ba (${FIGURE}) (${PLACE})`, 'g');
const FIGURE_ACT = new RegExp(`the (${FIGURE}) (?:${anyOf(Object.values(WORLD.hard.figureVerbs))})\\b`, 'g');
const CAMERA = new RegExp(`the camera (${anyOf(Object.keys(CAMERAS))})\\b`, 'g');
const PASS = new RegExp(
  `the (${COLOR}) (${SHAPE}) (${anyOf(Object.keys(PASSES))}) the ((?:${COLOR}) (?:${SHAPE})|${FIGURE})\\b`,
  'g',
);
const WORD_CHANGE = /the word changes to "([^"]*)"/g;

/** Every match of a pattern with its position, converted by `make` from its groups. */
function allMatches<T>(
  text: string,
  pattern: RegExp,
  make: (...groups: (string | undefined)[]) => T,
): { at: number; found: T }[] {
  return [...text.matchAll(pattern)].map((match) => ({ at: match.index, found: make(...match.slice(1)) }));
}

function eventsOf(sentence: string): SceneEvent[] {
  const found = [
    ...allMatches<SceneEvent>(sentence, CHANGE, (color = '', shape = '', text = '', to = '') => {
      const verb = VERBS[text] ?? '';
      return { type: 'act', color, shape, verb, ...(verb === 'recolor' && to !== '' ? { to } : {}) };
    }),
    ...allMatches<SceneEvent>(sentence, APPEARS, (color = '', shape = '') => ({
      type: 'act',
      color,
      shape,
      verb: 'appear',
    })),
    ...allMatches<SceneEvent>(sentence, SOUND, (text = '') => ({ type: 'sound', sound: SOUNDS[text] ?? '' })),
    ...allMatches<SceneEvent>(sentence, SPEECH, (article = '', speaker = '', off, content = '') => ({
      type: 'speech',
      speaker,
      content,
      ...(off === undefined ? (article === 'the' ? { view: 'on' } : {}) : { view: 'off' }),
    })),
    ...allMatches<SceneEvent>(sentence, CAMERA, (text = '') => ({ type: 'camera', move: CAMERAS[text] ?? '' })),
    ...allMatches<SceneEvent>(sentence, PASS, (color = '', shape = '', text = '', past = '') => ({
      type: 'pass',
      color,
      shape,
      how: PASSES[text] ?? '',
      past,
    })),
    ...allMatches<SceneEvent>(sentence, WORD_CHANGE, (to = '') => ({ type: 'word-change', to })),
    ...allMatches<SceneEvent>(sentence, FIGURE_ACT, (figure = '') => ({ type: 'figure-act', figure })),
  ];
  return found.sort((one, other) => one.at - other.at).map(({ found: event }) => event);
}

function factsOf(sentence: string): SceneFact[] {
  const found = [
    ...allMatches<SceneFact>(sentence, BACKGROUND, (texture = '', background = '') => ({
      type: 'background',
      background,
      texture,
    })),
    ...allMatches<SceneFact>(sentence, OBJECT, (size = '', color = '', shape = '', place = '') => ({
      type: 'object',
      size,
      color,
      shape,
      place,
    })),
    ...allMatches<SceneFact>(sentence, SCREEN_WORD, (word = '') => ({ type: 'screen-word', word })),
    ...allMatches<SceneFact>(sentence, FIGURE_AT, (figure = '', place = '') => ({ type: 'figure', figure, place })),
  ].map(({ found: fact }) => fact);
  const music = MUSIC[sentence];
  if (music !== undefined) return [...found, { type: 'music', music }];
  return sentence === WORLD.silence ? [...found, { type: 'silence' }] : found;
}

/** Reads a caption; text in other wording is ignored. A sentence has either events or facts. */
export function readCaption(text: string): ReadCaption {
  const facts: SceneFact[] = [];
  const beats: SceneEvent[][] = [];
  for (const sentence of text.trim().split(SENTENCE_END)) {
    const how = TRANSITIONS[sentence];
    const events: SceneEvent[] = how === undefined ? eventsOf(sentence) : [{ type: 'transition', how }];
    if (events.length > 0) beats.push(events);
    else facts.push(...factsOf(sentence));
  }
  return { facts, beats };
}

/** True when a caption mentions sound, or states that there is none. */
export function mentionsSound(text: string): boolean {
  return (
    text.search(SOUND) !== -1 || text.search(SPEECH) !== -1 || text.includes(WORLD.silence) || text.includes(' while ')
  );
}
