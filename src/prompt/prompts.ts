// The texts that AVoCaDO was trained with, word for word (inference.py of the authors' repository).

/**
 * The system message. Without one, the chat template inserts a sentence of its own (reference-model.md, Chat template).
 */
export const QWEN_SYSTEM_PROMPT =
  'You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and ' +
  'visual inputs, as well as generating text and speech.';

/** In the order of inference.py, which picks one at random. Prompt ids count from 1; the first is the default. */
export const AVOCADO_PROMPTS = [
  'Provide a comprehensive description of all the content in the video, leaving out no details. Be sure to include ' +
    'as much of the audio information as possible, and ensure that your descriptions of the audio and video are ' +
    'closely aligned.',
  'Thoroughly describe everything in the video, capturing every detail. Include as much information from the audio ' +
    'as possible, and ensure that the descriptions of both audio and video are well-coordinated.',
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
