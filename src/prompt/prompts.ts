// What AVoCaDO is asked, word for word (inference.py of the authors' repository): the model was trained on these.

/** Sent first; without it the chat template would put a sentence of its own there (reference-model 9, item 22). */
export const QWEN_SYSTEM_PROMPT =
  'You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and visual inputs, ' +
  'as well as generating text and speech.';

/** In the order of inference.py, which picks one at random; prompt ids count from 1. */
export const AVOCADO_PROMPTS = [
  'Provide a comprehensive description of all the content in the video, leaving out no details. Be sure to include as much of the ' +
    'audio information as possible, and ensure that your descriptions of the audio and video are closely aligned.',
  'Thoroughly describe everything in the video, capturing every detail. Include as much information from the audio as possible, and ' +
    'ensure that the descriptions of both audio and video are well-coordinated.',
  'Please describe all the information in the video without sparing every detail in it. As you describe, you should also describe as ' +
    'much of the information in the audio as possible, and pay attention to the synchronization between the audio and video descriptions.',
  'Offer a detailed description of the video, making sure to include every detail. Also, incorporate as much information from the ' +
    'audio as you can, and ensure that your descriptions of the audio and video are in sync.',
  'Describe every aspect of the video in full detail, covering all the information it contains. Additionally, include as much of the ' +
    'audio content as you can, and make sure your descriptions of the audio and video are synchronized.',
  'Please provide a thorough description of all the content in the video, including every detail. As you describe, ensure that you ' +
    'also cover as much information from the audio as possible, and be mindful of the synchronization between the audio and video as ' +
    'you do so.',
  'Give a detailed account of everything in the video, capturing all the specifics. While doing so, also include as much information ' +
    'from the audio as possible, ensuring that the descriptions of audio and video are well-synchronized.',
] as const;

/** Fixed, so that the same clip gives the same caption. */
export const DEFAULT_PROMPT: string = AVOCADO_PROMPTS[0];
