// Presets: what the captioners of the Qwen2.5-Omni family were trained or published with. One table; how each row was
// found is in models.md. A prompt that a checkpoint was trained with is a fact, so it stands here word for word.

/** What a model writes, and so how its text is read: see output/output-form.ts. */
export const OUTPUT_FORMS = ['text', 'timed-scenes', 'level-tag'] as const;
export type OutputFormName = (typeof OUTPUT_FORMS)[number];

/** Overrides of the `paper` profile under a name and version of their own. */
interface PresetProfile {
  readonly name: string;
  readonly version: number;
  readonly fps?: number;
  readonly maxFrames?: number;
  readonly maxPixels?: number;
  readonly totalPixels?: number;
}

/** What a model does where a request says nothing. */
export interface CaptionDefaults {
  /** null: no system message, in whose place the chat template writes a sentence of its own */
  readonly systemPrompt: string | null;
  /** prompt ids are positions in this list, from 1; the first is the default */
  readonly prompts: readonly string[];
  /** the prompt's text stands before the media */
  readonly textFirst: boolean;
  readonly maxTokens: number;
  readonly repetitionPenalty: number;
  readonly output: OutputFormName;
  /** undefined: `paper` */
  readonly profile?: PresetProfile | undefined;
}

interface Preset extends CaptionDefaults {
  /** a checkpoint whose name begins so is taken for this model */
  readonly names: RegExp;
}

/**
 * The system message of AVoCaDO's inference.py. Without one, the chat template inserts a sentence of its own
 * (reference-model.md, Chat template).
 */
export const QWEN_SYSTEM_PROMPT =
  'You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and ' +
  'visual inputs, as well as generating text and speech.';

const THOROUGH_PROMPT =
  'Thoroughly describe everything in the video, capturing every detail. Include as much information from the audio ' +
  'as possible, and ensure that the descriptions of both audio and video are well-coordinated.';

/** In the order of AVoCaDO's inference.py, which picks one at random; DiaDem and ASID-Caption have the same list. */
export const AVOCADO_PROMPTS = [
  'Provide a comprehensive description of all the content in the video, leaving out no details. Be sure to include ' +
    'as much of the audio information as possible, and ensure that your descriptions of the audio and video are ' +
    'closely aligned.',
  THOROUGH_PROMPT,
  'Please describe all the information in the video without sparing every detail in it. As you describe, you ' +
    'should also describe as much of the information in the audio as possible, and pay attention to the ' +
    'synchronization between the audio and video descriptions.',
  'Offer a detailed description of the video, making sure to include every detail. Also, incorporate as much ' +
    'information from the audio as you can, and ensure that your descriptions of the audio and video are in sync.',
  'Describe every aspect of the video in full detail, covering all the information it contains. Additionally, ' +
    'include as much of the audio content as you can, and make sure your descriptions of the audio and video are ' +
    'synchronized.',
  'Please provide a thorough description of all the content in the video, including every detail. As you describe, ' +
    'ensure that you also cover as much information from the audio as possible, and be mindful of the ' +
    'synchronization between the audio and video as you do so.',
  'Give a detailed account of everything in the video, capturing all the specifics. While doing so, also include ' +
    'as much information from the audio as possible, ensuring that the descriptions of audio and video are ' +
    'well-synchronized.',
] as const;

/** The attributes of ASID-Caption's evaluation, in its order. */
const ASID_ATTRIBUTES = [
  'scene',
  'characters',
  'objects',
  'actions',
  'narrative elements',
  'speech',
  'camera',
  'emotions',
] as const;

/** Its prompts of a single attribute (eval_scripts/Attrbute/prompts.jsonl). */
const ASID_ATTRIBUTE_PROMPTS = ASID_ATTRIBUTES.map(
  (attribute) => `Describe the ${attribute} in the video in detail. Write your answer as one coherent paragraph.`,
);

const UGC_PROMPT =
  'You are given a short video with both audio and visual content. Write a detailed and coherent paragraph that ' +
  'naturally integrates all modalities. Your description should include: (1) the primary scene and background ' +
  'setting; (2) key characters or objects and their actions or interactions; (3) significant audio cues such as ' +
  'voices, background music, sound effects, and their emotional tone; (4) any on-screen text (OCR) and its role in ' +
  'the video context; and (5) the overall theme or purpose of the video. Ensure the output is a fluent and objective ' +
  "paragraph, not a bullet-point list, and captures the video's content in a human-like, narrative style.";

/** As published, "alsodescribe" included. */
const AVSCAP_PROMPT =
  'Please describe all the information in the video without sparing every detail in it. As you describe, you should ' +
  'alsodescribe as much of the information in the audio as possible, and pay attention to the synchronization ' +
  'between the audio and video descriptions.';

/** The total budget of qwen-omni-utils where a script names none. */
const UTILS_TOTAL_PIXELS = 90_316_800;
/** Its limit of a frame. */
const UTILS_MAX_PIXELS = 768 * 28 * 28;

const AVOCADO: CaptionDefaults = {
  systemPrompt: QWEN_SYSTEM_PROMPT,
  prompts: AVOCADO_PROMPTS,
  textFirst: false,
  maxTokens: 2048,
  repetitionPenalty: 1,
  output: 'text',
};

/** Sources: the inference script or README of each repository; models.md names file and revision. */
export const PRESETS = {
  avocado: { ...AVOCADO, names: /^avocado(-captioner)?(-?7b)?$/i },
  diadem: { ...AVOCADO, names: /^diadem\b/i },
  timechat: {
    ...AVOCADO,
    names: /^time-?chat-?captioner\b/i,
    systemPrompt: null,
    prompts: [THOROUGH_PROMPT],
    maxTokens: 8192,
    output: 'timed-scenes',
    profile: {
      ...{ name: 'timechat', version: 1 },
      ...{ fps: 2, maxFrames: 160, maxPixels: 297_920, totalPixels: UTILS_TOTAL_PIXELS },
    },
  },
  asid: {
    ...AVOCADO,
    names: /^asid-?caption(er)?\b/i,
    prompts: [...AVOCADO_PROMPTS, ...ASID_ATTRIBUTE_PROMPTS],
    maxTokens: 4096,
    repetitionPenalty: 1.1,
  },
  ugc: {
    ...AVOCADO,
    names: /^ugc[-_]?video[-_]?captioner\b/i,
    systemPrompt: null,
    prompts: [UGC_PROMPT],
    maxTokens: 1024,
    output: 'level-tag',
    profile: { name: 'ugc', version: 1, maxPixels: UTILS_MAX_PIXELS, totalPixels: UTILS_TOTAL_PIXELS },
  },
  avscap: {
    ...AVOCADO,
    names: /^avscap\b/i,
    systemPrompt: null,
    prompts: [AVSCAP_PROMPT],
    textFirst: true,
    maxTokens: 4096,
    profile: {
      ...{ name: 'avscap', version: 1 },
      ...{ fps: 1, maxFrames: 160, maxPixels: 297_920, totalPixels: UTILS_TOTAL_PIXELS },
    },
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof PRESETS;
export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[];
/** Without a sign of another model: Qwen2.5-Omni itself has no prompt for captions. */
export const DEFAULT_PRESET: PresetName = 'avocado';

export function defaultsOf(name: PresetName): CaptionDefaults {
  const { systemPrompt, prompts, textFirst, maxTokens, repetitionPenalty, output, profile }: Preset = PRESETS[name];
  return { systemPrompt, prompts, textFirst, maxTokens, repetitionPenalty, output, profile };
}

/**
 * The preset that one of these names belongs to; the first that belongs to one counts.
 * @param names of a model: `owner/name`, a directory's, or the title of a card
 */
export function recognisePreset(names: readonly string[]): PresetName | undefined {
  for (const name of names) {
    const own = name.trim().replace(/^[^\s/]+\//, '');
    const found = PRESET_NAMES.find((preset) => PRESETS[preset].names.test(own));
    if (found !== undefined) return found;
  }
  return undefined;
}
