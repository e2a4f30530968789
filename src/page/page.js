// The page: sends the chosen file, shows the caption as it arrives, and offers to copy or download it.
import { requestCaption } from './caption-request.js';
import * as timeline from './timeline.js';
import { listenForJobs } from './jobs.js';
import { chosenFile, listenForFiles, offerSamples, play, reference } from './chosen-file.js';

// The stages of a request, one line each: its name, a progress bar, and its duration in seconds.

const STAGE_NAMES = {
  upload: 'Sending',
  queued: 'Waiting for its turn',
  fetch: 'Fetching',
  probe: 'Looking at the file',
  decode: 'Reading frames and sound',
  encode: 'Seeing and hearing',
  prefill: 'Reading the prompt',
  generate: 'Writing',
};

/** Fills `list`, an <ol>. `say` receives the name of every new stage, for screen readers. */
class StageList {
  constructor(list, say) {
    this.list = list;
    this.say = say;
  }

  clear() {
    this.list.replaceChildren();
    this.current = undefined;
  }

  /** Shows that a stage is running, `done` of `total`; the stage before it has ended. */
  show(stage, done, total) {
    if (this.current?.stage !== stage) this.#begin(stage);
    const { bar } = this.current;
    if (total > 1 && done <= total) {
      bar.max = total;
      bar.value = done;
    }
  }

  /** Ends the running stage. */
  end() {
    if (this.current === undefined) return;
    const { line, bar, seconds, startedMs } = this.current;
    line.removeAttribute('aria-current');
    bar.max = 1;
    bar.value = 1;
    seconds.textContent = ((performance.now() - startedMs) / 1000).toFixed(2) + ' s';
    this.current = undefined;
  }

  #begin(stage) {
    this.end();
    const name = STAGE_NAMES[stage] ?? stage;
    const [line, label, bar, seconds] = ['li', 'span', 'progress', 'span'].map((tag) => document.createElement(tag));
    label.textContent = name;
    bar.setAttribute('aria-label', name);
    seconds.className = 'seconds';
    line.setAttribute('aria-current', 'step');
    line.append(label, bar, seconds);
    this.list.append(line);
    this.current = { stage, line, bar, seconds, startedMs: performance.now() };
    this.say(name + ' …');
  }
}

const at = (id) => document.getElementById(id);
let cancel; // cancels the running request; undefined = none is running
let answer; // the caption-end event of the last caption
let fileName = ''; // of that caption
let truth = ''; // its reference caption, for a sample

/** The status line. Screen readers read every change aloud, so an equal text is not set again. */
function say(text) {
  if (at('status').textContent !== text) at('status').textContent = text;
}
function fail(text) {
  at('error').textContent = text;
  say('');
}
const stages = new StageList(at('stages'), say);

function factsOf({ kind, video, audio, warnings }, promptTokens) {
  const parts = [];
  if (video)
    parts.push((kind === 'image' ? 'picture' : video.frames + ' frames') + ' of ' + video.width + '×' + video.height);
  if (audio.used) parts.push(audio.seconds.toFixed(1) + ' s of sound');
  else if (kind !== 'image') parts.push(audio.present ? 'sound not listened to' : 'no sound');
  parts.push(promptTokens + ' prompt tokens');
  return [parts.join(', '), ...warnings].join('\n');
}

function showAnswer(data) {
  const { caption, segments, merge, finish_reason, usage, timings, model, profile } = data;
  answer = data;
  // The timeline shows it already, unless it is one text out of it, or the model's own scenes.
  const isShown = segments !== undefined && merge?.status !== 'merged' && segments[0]?.timed_by === undefined;
  at('caption').textContent = isShown ? '' : caption;
  at('save-vtt').hidden = segments === undefined;
  const cut =
    { length: ', cut at the token limit', repetition: ', ended because it repeated itself' }[finish_reason] ?? '';
  const tokens = usage.completion_tokens + ' tokens written' + cut;
  at('facts').append(
    '\n' + [tokens, timings.total_seconds.toFixed(2) + ' s in all', model, 'profile ' + profile].join(', '),
  );
  at('keep').hidden = false;
  at('reference').textContent = truth;
  at('truth').hidden = truth === '';
  say('');
}

const handlers = {
  stage: ({ stage, done, total }) => stages.show(stage, done, total),
  media: ({ media, prompt_tokens }) => {
    at('facts').textContent = factsOf(media, prompt_tokens);
  },
  'segment-start': timeline.startSegment,
  'text-delta': ({ text, segment }) => {
    stages.show('generate', 0, 0);
    if (segment === undefined) at('caption').append(text);
    else timeline.addToSegment(segment, text);
  },
  'segment-end': timeline.endSegment,
  'caption-end': showAnswer,
  'caption-error': ({ error }) => fail(error.message),
  'caption-aborted': () => fail('The server cancelled the caption. Try again.'),
};

function busy(now) {
  at('go').setAttribute('aria-disabled', String(now)); // `disabled` would lose the keyboard focus
  at('caption').setAttribute('aria-busy', String(now)); // screen readers then read it once, when it is complete
  if (!now && document.activeElement === at('cancel')) at('go').focus();
  at('cancel').hidden = !now;
  if (!now) {
    stages.end();
    timeline.endTimeline();
    cancel = undefined;
  }
}

function start(file) {
  for (const id of ['caption', 'error', 'facts']) at(id).textContent = '';
  at('keep').hidden = at('truth').hidden = true;
  fileName = file.name;
  truth = reference();
  stages.clear();
  timeline.clearTimeline();
  busy(true);
  stages.show('upload', 0, 0);
  play();
  cancel = requestCaption(
    { file, prompt: at('prompt').value, listen: at('listen').checked, key: at('key').value },
    {
      onUpload: (sent, total) => {
        if (stages.current?.stage === 'upload') stages.show('upload', sent, total);
      },
      onEvent: (name, data) => handlers[name]?.(data),
      onEnd: () => busy(false),
      onError: (text, status) => {
        if (status === 401) at('key-row').hidden = false;
        fail(text);
        busy(false);
      },
    },
  );
}

function cancelRequest() {
  if (cancel === undefined) return;
  cancel();
  busy(false);
  say('Cancelled.');
}

function startSample() {
  cancelRequest();
  start(chosenFile());
}

/** Lets the browser save a text as a file. */
function download(text, type, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The buttons that copy or download the caption. */
function listenForKeeping() {
  const stem = () => fileName.replace(/\.[^.]*$/, '') || 'caption';
  at('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(answer.caption);
      say('Copied.');
    } catch {
      say('The browser does not let this page copy. Select the text instead.');
    }
  });
  at('save-text').addEventListener('click', () => download(answer.caption + '\n', 'text/plain', stem() + '.txt'));
  at('save-vtt').addEventListener('click', () =>
    download(timeline.vttOf(answer.segments), 'text/vtt', stem() + '.vtt'),
  );
  at('save-json').addEventListener('click', () =>
    download(JSON.stringify(answer, null, 2) + '\n', 'application/json', stem() + '.json'),
  );
}

at('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (cancel !== undefined) return;
  if (chosenFile() === undefined) fail('Choose a file first, drop one on this page, or take a sample.');
  else start(chosenFile());
});
at('cancel').addEventListener('click', cancelRequest);
addEventListener('pagehide', cancelRequest); // a page in the back-forward cache would keep the request open
listenForFiles();
listenForKeeping();
timeline.listenForTimeline();
listenForJobs();
offerSamples(startSample, fail).catch(() => undefined); // the page works without samples
