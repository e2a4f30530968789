// Every metric that requests leave behind: its name, meaning, labels and buckets, in one list. No label ever holds a file's name,
// a URL, a key's name or a person's words.

/** Work here lasts from a tenth of a second to an hour. */
const LONG = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600];
/** Stages: from a probe (tens of milliseconds) to an hour of decoding tokens. */
const STAGE = [0.005, 0.01, 0.025, 0.05, ...LONG];
/** From a small model on a GPU to a large one on a busy CPU, or a pause for another's prefill. */
const BETWEEN_TOKENS = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 30, 60];
const BYTES = [1e4, 1e5, 1e6, 5e6, 2e7, 5e7, 1e8, 2.5e8, 5e8, 1e9, 2e9, 5e9];
const PLAYING_TIME = [1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
const FRAMES = [1, 4, 8, 16, 32, 64, 128, 256, 512, 768];
const PIXELS = [1e5, 2.5e5, 5e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8];

export const COUNTERS = {
  requests: {
    name: 'avocado_requests_total',
    help: 'Caption requests that ended, by outcome (ok, error, aborted, rejected), finish reason (stop, length, repetition, or the outcome) and class (interactive, batch; unread where the body was not read).',
    labels: ['outcome', 'finish_reason', 'class'],
  },
  rejected: {
    name: 'avocado_requests_rejected_total',
    help: 'Requests that were not let in, by reason (queue_count, queue_work, stopping, rate_limited, unauthorized).',
    labels: ['reason'],
  },
  cancelled: {
    name: 'avocado_requests_cancelled_total',
    help: 'Requests that were given up, by the stage they were in: their client left, a deadline passed, somebody cancelled them, or the server stopped.',
    labels: ['stage'],
  },
  promptTokens: {
    name: 'avocado_prompt_tokens_total',
    help: 'Prompt tokens of requests whose media was read, by modality (text, video, audio, image).',
    labels: ['modality'],
  },
  generationTokens: {
    name: 'avocado_generation_tokens_total',
    help: 'Tokens generated for requests that ended, all samples together.',
    labels: [],
  },
  mediaErrors: {
    name: 'avocado_media_errors_total',
    help: 'Requests that failed because of their file, by error code.',
    labels: ['reason'],
  },
  videoSeconds: {
    name: 'avocado_video_seconds_captioned_total',
    help: 'Playing time of captioned files, in seconds.',
    labels: [],
  },
} as const;

export const HISTOGRAMS = {
  duration: {
    name: 'avocado_request_duration_seconds',
    help: 'From the request to its ending, upload included; not of requests that were not let in.',
    labels: [],
    buckets: LONG,
  },
  firstToken: {
    name: 'avocado_time_to_first_token_seconds',
    help: 'From the request to the first words of its caption.',
    labels: [],
    buckets: LONG,
  },
  betweenTokens: {
    name: 'avocado_inter_token_seconds',
    help: 'Between two tokens of a caption, after its first.',
    labels: [],
    buckets: BETWEEN_TOKENS,
  },
  stages: {
    name: 'avocado_stage_duration_seconds',
    help: 'Work of one stage for one request; queue and fetch happen in the server, the others in the engine.',
    labels: ['stage'],
    buckets: STAGE,
  },
  mediaBytes: {
    name: 'avocado_media_bytes',
    help: 'Size of media files, by how they came (upload, url, data, root).',
    labels: ['kind'],
    buckets: BYTES,
  },
  mediaDuration: {
    name: 'avocado_media_duration_seconds',
    help: 'Playing time of media, by what they are (video, audio, image).',
    labels: ['kind'],
    buckets: PLAYING_TIME,
  },
  mediaFrames: {
    name: 'avocado_media_frames',
    help: 'Frames given to the model, by what the file is (video, image).',
    labels: ['kind'],
    buckets: FRAMES,
  },
  mediaPixels: {
    name: 'avocado_media_pixels',
    help: 'Pixels given to the model, all frames together, by what the file is (video, image).',
    labels: ['kind'],
    buckets: PIXELS,
  },
} as const;

/** The handful of vLLM's that dashboards and autoscalers read, with its labels and its meaning. */
export const VLLM_COUNTERS = {
  success: {
    name: 'vllm:request_success_total',
    help: 'Requests that ended, by finished_reason (stop, length, abort, error).',
    labels: ['model_name', 'finished_reason'],
  },
} as const;

export const VLLM_HISTOGRAMS = {
  duration: {
    name: 'vllm:e2e_request_latency_seconds',
    help: 'From the request to its ending.',
    labels: ['model_name'],
    buckets: LONG,
  },
  firstToken: {
    name: 'vllm:time_to_first_token_seconds',
    help: 'From the request to the first words of its caption.',
    labels: ['model_name'],
    buckets: LONG,
  },
} as const;
