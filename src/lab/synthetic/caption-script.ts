import { isTall, type Actor, type Script, type ScriptEvent } from './script.ts';
import { WORLD } from './vocabulary.ts';

/** What a perfect observer writes about a script; with `sound` off, one who hears nothing and says nothing of it. */
export function captionScript(script: Script, sound: boolean): string {
  const sentences = [sceneOf(script)];
  if (script.text !== null) sentences.push(`The word "${script.text}" is shown at the top.`);
  for (const [beat, opening] of WORLD.openings.entries()) {
    const told = script.events.filter((event) => event.beat === beat && (sound || event.kind === 'visual'));
    if (told.length > 0) sentences.push(`${opening}, ${told.map((event) => clause(script, event)).join(' while ')}.`);
  }
  if (sound && script.events.every(({ kind }) => kind === 'visual')) sentences.push(WORLD.silence);
  return sentences.join(' ');
}

function sceneOf(script: Script): string {
  const shown = script.objects.filter(({ hidden }) => !hidden).sort((one, other) => one.slot - other.slot);
  const things = shown.map((actor) => `${thing(actor)} ${placeOf(script, actor)}`);
  const last = things.pop() ?? '';
  return `On ${article(script.texture)} ${script.background} background there is ${things.length === 0 ? last : `${things.join(', ')} and ${last}`}.`;
}

function clause(script: Script, event: ScriptEvent): string {
  switch (event.kind) {
    case 'speech':
      return `${worded(WORLD.speakers[event.speaker])} says "${event.text}"`;
    case 'sound':
      return `${worded(WORLD.sounds[event.sound])} is heard`;
    case 'visual': {
      const actor = script.objects[event.object];
      if (actor === undefined) throw new Error(`There is no object ${event.object} in the script. This is a bug.`);
      if (event.verb === 'appear') return `${thing(actor)} appears ${placeOf(script, actor)}`;
      return `the ${actor.color} ${actor.shape} ${worded(WORLD.verbs[event.verb])}${event.to === undefined ? '' : ` ${event.to}`}`;
    }
  }
}

function thing({ size, color, shape }: Actor): string {
  return `a ${size} ${color} ${shape}`;
}

function placeOf(script: Script, { slot }: Actor): string {
  return worded(WORLD.places[isTall(script.size) ? 'tall' : 'wide'][slot]);
}

/** `red` → `a red`, `orange` → `an orange` */
function article(word: string): string {
  return `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
}

function worded(text: string | undefined): string {
  if (text === undefined) throw new Error('The script holds something that the world has no words for. This is a bug.');
  return text;
}
