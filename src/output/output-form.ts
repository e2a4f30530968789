// Models of the family write captions in forms of their own. A form reads the text as it grows and gives what is shown.
// Pure: nothing that a model writes is lost but the marks of its form.
import { isJsonObject, parseJson } from '../base/json.ts';
import type { OutputFormName } from '../settings/presets.ts';
import type { SegmentCaption } from './events.ts';
import { timelineHeading } from './subtitles.ts';

export interface OutputForm {
  /** Text that may be shown now. What it shows does not depend on how the text was cut. */
  push(text: string): string;
  /** The rest, when no more text comes. */
  flush(): string;
  /** what the text was made of, with the model's own times; undefined: it was one text */
  segments(): readonly SegmentCaption[] | undefined;
  readonly warnings: readonly string[];
}

/** What of the file is captioned, in its seconds. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** @returns undefined where the text is shown as it is */
export function outputForm(name: OutputFormName, range: Range): OutputForm | undefined {
  switch (name) {
    case 'text':
      return undefined;
    case 'level-tag':
      return new LevelTag();
    case 'timed-scenes':
      return new TimedScenes(range);
    default:
      return name satisfies never;
  }
}

/** A tag such as `<level>A</level>` at the end of UGC-VideoCaptioner's captions. Elsewhere it stays. */
const LEVEL_TAG = /^\s*<level>[A-F]<\/level>\s*$/;
const TAG_PARTS = ['<level>', 'ABCDEF', '</level>'] as const;

class LevelTag implements OutputForm {
  readonly warnings: readonly string[] = [];
  #held = '';

  push(piece: string): string {
    const text = this.#held + piece;
    const from = tagStart(text);
    this.#held = text.slice(from);
    return text.slice(0, from);
  }

  flush(): string {
    const rest = LEVEL_TAG.test(this.#held) ? '' : this.#held;
    this.#held = '';
    return rest;
  }

  segments(): undefined {
    return undefined;
  }
}

/** Where the end of the text begins that may become a level tag, with the spaces around it. */
function tagStart(text: string): number {
  const kept = text.trimEnd().length;
  const last = text.lastIndexOf('<', kept);
  for (const at of [text.lastIndexOf('<', last - 1), last])
    if (at >= 0 && beginsTag(text.slice(at, kept))) return text.slice(0, at).trimEnd().length;
  return kept;
}

function beginsTag(text: string): boolean {
  const [open, levels, close] = TAG_PARTS;
  const level = text.charAt(open.length);
  if (level === '') return open.startsWith(text);
  return text.startsWith(open) && levels.includes(level) && close.startsWith(text.slice(open.length + 1));
}

/** A field of a scene that says when it is. */
const TIME_FIELD = 'timestamp';
/** The field that is shown without its name. */
const MAIN_FIELDS = ['segment_detail_caption', 'caption'] as const;
/** Before an array: spaces, and the fence that some models write around JSON. */
const BEFORE_ARRAY = /^\s*(?:```[a-z]{0,8}\s*)?$/;
const FENCE_START = /^\s*`{0,3}[a-z]{0,8}\s*$/;

/**
 * TimeChat-Captioner's scenes: a JSON array of objects, each with a `timestamp` such as "00:05-01:10" and texts. Shown
 * as a timeline that grows by whole scenes. A text that is no such array is shown as it is.
 */
class TimedScenes implements OutputForm {
  readonly warnings: string[] = [];
  readonly #range: Range;
  readonly #scenes: SegmentCaption[] = [];
  #mode: 'undecided' | 'scenes' | 'text' = 'undecided';
  #held = '';
  /** what stands before the first scene */
  #opening = '';
  #shown = false;
  /** of the object that is open: what is read of #held, and how deep it is inside braces and strings */
  #at = 0;
  #depth = 0;
  #isString = false;
  #isEscaped = false;

  constructor(range: Range) {
    this.#range = range;
  }

  push(piece: string): string {
    if (this.#mode === 'text') return piece;
    this.#held += piece;
    if (this.#mode === 'undecided') {
      const array = this.#held.indexOf('[');
      if (array >= 0 && BEFORE_ARRAY.test(this.#held.slice(0, array))) {
        this.#mode = 'scenes';
        this.#opening = this.#held.slice(0, array + 1);
        this.#held = this.#held.slice(array + 1);
      } else if (FENCE_START.test(this.#held)) return '';
      else {
        this.#mode = 'text';
        return this.#takeHeld();
      }
    }
    return this.#takeScenes();
  }

  flush(): string {
    if (this.#mode !== 'scenes') return this.#takeHeld();
    const raw = this.#takeHeld();
    const rest = raw.replace(/^[\s,]+/, '');
    const open = rest.startsWith('{') ? completed(rest) : undefined;
    if (open !== undefined && sceneText(open) !== '') return this.#show(open, rest, true);
    if (!this.#shown) return this.#opening + raw; // it was no such array
    const text = rest.replace(/^\]?\s*(?:```)?/, '').trim();
    return text === '' ? '' : this.#paragraph(text);
  }

  segments(): readonly SegmentCaption[] | undefined {
    return this.#scenes.length === 0 ? undefined : this.#scenes;
  }

  #takeHeld(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }

  /** Reads what has come; gives the scenes that are complete. */
  #takeScenes(): string {
    let shown = '';
    for (; this.#at < this.#held.length; this.#at++) {
      const character = this.#held.charAt(this.#at);
      if (this.#isString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (character === '\\') this.#isEscaped = true;
        else if (character === '"') this.#isString = false;
      } else if (character === '"') this.#isString = this.#depth > 0;
      else if (character === '{') this.#depth += 1;
      else if (character === '}' && this.#depth > 0) {
        this.#depth -= 1;
        if (this.#depth === 0) shown += this.#takeObject();
      }
    }
    return shown;
  }

  /** The object that ends where reading is. */
  #takeObject(): string {
    const source = this.#held.slice(0, this.#at + 1).replace(/^[\s,]+/, '');
    this.#held = this.#held.slice(this.#at + 1);
    this.#at = -1; // the loop goes on at 0
    const scene = textFields(source);
    return scene === undefined ? this.#paragraph(source) : this.#show(scene, source, false);
  }

  #show(scene: ReadonlyMap<string, string>, source: string, isCut: boolean): string {
    const caption = sceneText(scene);
    if (caption === '') return this.#paragraph(source);
    const times = this.#timesOf(scene.get(TIME_FIELD) ?? '');
    if (times === undefined) {
      const what = JSON.stringify(scene.get(TIME_FIELD) ?? '').slice(0, 60);
      this.warnings.push(`The model wrote ${what} as the time of a scene, which is none of the file: it has no times.`);
      return this.#paragraph(caption);
    }
    const details = Object.fromEntries([...scene].filter(([name]) => name !== TIME_FIELD));
    const index = this.#scenes.length;
    this.#scenes.push({ index, ...times, caption, finishReason: isCut ? 'length' : 'stop', timedBy: 'model', details });
    const heading = timelineHeading(times, !this.#shown);
    this.#shown = true;
    return heading + caption;
  }

  #paragraph(text: string): string {
    const separator = this.#shown ? '\n\n' : '';
    this.#shown = true;
    return separator + text.trim();
  }

  /** Times count from the start of what the model saw; an end is cut to what it saw. */
  #timesOf(text: string): Range | undefined {
    const times = /^\s*([\d:.]+)\s*[-–—]\s*([\d:.]+)\s*$/.exec(text);
    const [first, last] = [times?.[1], times?.[2]].map((time) => (time === undefined ? undefined : secondsOf(time)));
    if (first === undefined || last === undefined) return undefined;
    const start = this.#range.start + first;
    const end = Math.min(this.#range.start + last, this.#range.end);
    return start < end ? { start, end } : undefined;
  }
}

/** `SS`, `MM:SS` or `HH:MM:SS`, with decimals or without. */
function secondsOf(time: string): number | undefined {
  if (!/^(?:\d+:){0,2}\d+(?:\.\d+)?$/.test(time)) return undefined;
  return time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** Fields of a JSON object that are texts; undefined: it is none. */
function textFields(source: string): ReadonlyMap<string, string> | undefined {
  const parsed = parseJson(source);
  if (!isJsonObject(parsed)) return undefined;
  const texts = Object.entries(parsed).filter((field): field is [string, string] => typeof field[1] === 'string');
  return new Map(texts.map(([name, text]) => [name, text.trim()]));
}

/** An object that was cut in the middle, as far as it can be read. */
function completed(source: string): ReadonlyMap<string, string> | undefined {
  const inText = source.replace(/\\(?:u[\da-fA-F]{0,3})?$/, '');
  const behindField = source.replace(/,\s*$/, '');
  const inName = source.replace(/,\s*"[^"]*(?:"\s*:?\s*)?$/, '');
  return textFields(`${behindField}}`) ?? textFields(`${inText}"}`) ?? textFields(`${inName}}`);
}

/** The scene's own caption, then its other fields by their names. */
function sceneText(scene: ReadonlyMap<string, string>): string {
  const main = MAIN_FIELDS.find((name) => scene.has(name));
  const others = [...scene].filter(([name, text]) => name !== main && name !== TIME_FIELD && text !== '');
  const lines = others.map(([name, text]) => `${name.replaceAll('_', ' ')}: ${text}`);
  return [scene.get(main ?? '') ?? '', ...lines].filter((line) => line !== '').join('\n');
}
