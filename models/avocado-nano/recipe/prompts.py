"""The prompts: Qwen's system prompt and AVoCaDO's seven prompts (src/prompt/prompts.ts), and some short ones of our own."""

SYSTEM = ('You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and visual inputs, '
          'as well as generating text and speech.')

AVOCADO = (
    'Provide a comprehensive description of all the content in the video, leaving out no details. Be sure to include as much of the '
    'audio information as possible, and ensure that your descriptions of the audio and video are closely aligned.',
    'Thoroughly describe everything in the video, capturing every detail. Include as much information from the audio as possible, and '
    'ensure that the descriptions of both audio and video are well-coordinated.',
    'Please describe all the information in the video without sparing every detail in it. As you describe, you should also describe as '
    'much of the information in the audio as possible, and pay attention to the synchronization between the audio and video descriptions.',
    'Offer a detailed description of the video, making sure to include every detail. Also, incorporate as much information from the '
    'audio as you can, and ensure that your descriptions of the audio and video are in sync.',
    'Describe every aspect of the video in full detail, covering all the information it contains. Additionally, include as much of the '
    'audio content as you can, and make sure your descriptions of the audio and video are synchronized.',
    'Please provide a thorough description of all the content in the video, including every detail. As you describe, ensure that you '
    'also cover as much information from the audio as possible, and be mindful of the synchronization between the audio and video as '
    'you do so.',
    'Give a detailed account of everything in the video, capturing all the specifics. While doing so, also include as much information '
    'from the audio as possible, ensuring that the descriptions of audio and video are well-synchronized.',
)

SHORT = ('Describe the video.', 'Describe the video and its sound.', 'What happens in this clip?', 'Describe everything you see and hear.',
         'Write a caption for this video.', 'Caption this.')

SHORT_SHARE = 0.2      # share of the training prompts


def sample_prompt(rng):
    """A short prompt or one of AVoCaDO's seven."""
    return rng.choice(SHORT if rng.random() < SHORT_SHARE else AVOCADO)
