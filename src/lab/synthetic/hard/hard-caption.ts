// The reference caption of a clip of the hard level, in pieces that know what they describe.
import { article, phraseOf, placeOf, wordsOf, type SceneObject } from '../script.ts';
import { WORLD } from '../vocabulary.ts';
import { isHeard, type HardScript, type Shot, type ShotEvent } from './hard-script.ts';

/** What a piece of a caption describes: numbers of a shot and of an event or an object in it. */
export type Subject =
  | { readonly kind: 'background' | 'transition' | 'screen-word'; readonly shot: number }
  | { readonly kind: 'object'; readonly shot: number; readonly object: number }
  | { readonly kind: 'figure'; readonly shot: number }
  | { readonly kind: 'event'; readonly shot: number; readonly event: number }
  | {
      readonly kind: 'words';
      readonly shot: number;
      readonly event: number;
      readonly from: number;
      readonly to: number;
    };

/** The texts of all pieces, one after the other, are the caption. */
export interface Piece {
  readonly text: string;
  readonly subject?: Subject;
}

/** @param sound false = the caption says nothing about sound */
export function hardCaption(script: HardScript, sound: boolean): string {
  return captionPieces(script, sound)
    .map(({ text }) => text)
    .join('');
}

export function captionPieces(script: HardScript, sound: boolean): Piece[] {
  const pieces = script.shots.flatMap((shot, number) => [
    ...transitionPieces(shot, number),
    ...scenePieces(script, number),
    ...wordPieces(shot, number),
    ...beatPieces(script, number, sound),
  ]);
  if (sound && script.music !== null) pieces.push({ text: ` ${wordsOf(WORLD.hard.music[script.music])}` });
  else if (sound && !script.shots.some(({ events }) => events.some(isHeard)))
    pieces.push({ text: ` ${WORLD.silence}` });
  const [first, ...rest] = pieces;
  return first === undefined ? [] : [{ ...first, text: first.text.trimStart() }, ...rest];
}

function transitionPieces({ transition }: Shot, shot: number): Piece[] {
  if (transition === null) return [];
  return [{ text: ` ${wordsOf(WORLD.hard.transitions[transition])}`, subject: { kind: 'transition', shot } }];
}

function wordPieces({ text }: Shot, shot: number): Piece[] {
  if (text === null) return [];
  return [{ text: ` The word "${text}" is shown at the top.`, subject: { kind: 'screen-word', shot } }];
}

function scenePieces(script: HardScript, number: number): Piece[] {
  const shot = shotAt(script, number);
  const things: { readonly slot: number; readonly text: string; readonly subject: Subject }[] = [];
  for (const [object, thing] of shot.objects.entries()) {
    if (!thing.hidden)
      things.push({ slot: thing.slot, text: phraseOf(thing), subject: { kind: 'object', shot: number, object } });
  }
  if (shot.figure !== null) {
    const text = wordsOf(WORLD.hard.figures[shot.figure.kind]);
    things.push({ slot: shot.figure.slot, text, subject: { kind: 'figure', shot: number } });
  }
  things.sort((one, other) => one.slot - other.slot);
  const listed = things.map(({ text, slot, subject }, index): Piece => {
    const joint = index === 0 ? ' ' : index === things.length - 1 ? ' and ' : ', ';
    return { text: `${joint}${text} ${placeOf(script.size, slot)}`, subject };
  });
  const background = ` On ${article(shot.texture)} ${shot.background} background there is`;
  return [{ text: background, subject: { kind: 'background', shot: number } }, ...listed, { text: '.' }];
}

function beatPieces(script: HardScript, number: number, sound: boolean): Piece[] {
  const shot = shotAt(script, number);
  return WORLD.openings.flatMap((opening, beat) => {
    const told = [...shot.events.entries()].filter(([, event]) => event.beat === beat && (sound || !isHeard(event)));
    if (told.length === 0) return [];
    const clauses = told.flatMap(([event], rank) => {
      const joint = [' ', ' while '][rank] ?? ' and ';
      return eventPieces(script, number, event, joint);
    });
    return [{ text: ` ${opening},` }, ...clauses, { text: '.' }];
  });
}

/** The words of a spoken line are pieces of their own. */
function eventPieces(script: HardScript, number: number, event: number, joint: string): Piece[] {
  const shot = shotAt(script, number);
  const what = known(shot.events[event]);
  const subject: Subject = { kind: 'event', shot: number, event };
  const text = joint + clause(script, shot, what);
  if (what.kind !== 'speech') return [{ text, subject }];
  const [before = '', line = ''] = text.split('"');
  const pieces: Piece[] = [{ text: `${before}"`, subject }];
  let from = 0;
  for (const word of line.split(' ')) {
    const to = from + word.length;
    pieces.push({ text: from === 0 ? word : ` ${word}`, subject: { kind: 'words', shot: number, event, from, to } });
    from = to + 1;
  }
  return [...pieces, { text: '"', subject }];
}

function clause(script: HardScript, shot: Shot, event: ShotEvent): string {
  switch (event.kind) {
    case 'speech': {
      const speaker = wordsOf(WORLD.speakers[event.speaker]);
      const who = event.view === 'on' ? speaker.replace(/^a /, 'the ') : `${speaker} off screen`;
      return `${who} says "${event.text}"`;
    }
    case 'sound':
      return `${wordsOf(WORLD.sounds[event.sound] ?? WORLD.hard.sounds[event.sound])} is heard`;
    case 'camera':
      return `the camera ${wordsOf(WORLD.hard.cameras[event.move])}`;
    case 'word':
      return `the word changes to "${event.to}"`;
    case 'figure':
      return `the ${known(shot.figure).kind} ${wordsOf(WORLD.hard.figureVerbs[known(shot.figure).kind])}`;
    case 'pass':
      return `${named(shot.objects[event.object])} ${wordsOf(WORLD.hard.passes[event.how])} ${standingAt(shot, event.past)}`;
    case 'visual': {
      const object = known(shot.objects[event.object]);
      if (event.verb === 'appear') return `${phraseOf(object)} appears ${placeOf(script.size, object.slot)}`;
      const target = event.to === undefined ? '' : ` ${event.to}`;
      return `${named(object)} ${wordsOf(WORLD.verbs[event.verb])}${target}`;
    }
  }
}

function named(object: SceneObject | undefined): string {
  const { color, shape } = known(object);
  return `the ${color} ${shape}`;
}

function standingAt({ figure, objects }: Shot, slot: number): string {
  return figure?.slot === slot ? `the ${figure.kind}` : named(objects.find((object) => object.slot === slot));
}

function shotAt(script: HardScript, number: number): Shot {
  return known(script.shots[number]);
}

function known<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('The script lacks what it tells of. This is a bug.');
  return value;
}
