import { requestCaption } from './caption-request.js';
import { chosenFile, listenForFiles, offerSamples, play, reference } from './chosen-file.js';
import { offerToKeep } from './keep-caption.js';
import { StageList } from './stage-list.js';

const at = (id) => document.getElementById(id);
let cancel; // of the caption being made, if any
let answer; // of the last caption that was made
let captioned = '';
let truth = ''; // what is in that file, where somebody knows

/** Said aloud by screen readers: changed only when there is something new. */
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

function end(data) {
  const { caption, finish_reason, usage, timings, model, profile } = data;
  answer = data;
  at('caption').textContent = caption;
  const cut =
    { length: ', cut at the token limit', repetition: ', ended because it repeated itself' }[finish_reason] ?? '';
  const written = usage.completion_tokens + ' tokens written' + cut;
  at('facts').append(
    '\n' + [written, timings.total_seconds.toFixed(2) + ' s in all', model, 'profile ' + profile].join(', '),
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
  'text-delta': ({ text }) => {
    stages.show('generate', 0, 0);
    at('caption').append(text);
  },
  'caption-end': end,
  'caption-error': ({ error }) => fail(error.message),
  'caption-aborted': () => fail('The server cancelled the caption. Try again.'),
};

function busy(now) {
  at('go').setAttribute('aria-disabled', String(now)); // not `disabled`: the keyboard's focus would be lost
  at('caption').setAttribute('aria-busy', String(now)); // read aloud once, whole, not word by word
  if (!now && document.activeElement === at('cancel')) at('go').focus();
  at('cancel').hidden = !now;
  if (!now) {
    stages.end();
    cancel = undefined;
  }
}

function start(file) {
  for (const id of ['caption', 'error', 'facts']) at(id).textContent = '';
  at('keep').hidden = at('truth').hidden = true;
  captioned = file.name;
  truth = reference();
  stages.clear();
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

function give() {
  cancel?.();
  if (cancel !== undefined) {
    busy(false);
    say('Cancelled.');
  }
}

function startSample() {
  give();
  start(chosenFile());
}

at('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (cancel !== undefined) return;
  if (chosenFile() === undefined) fail('Choose a file first, drop one on this page, or take a sample.');
  else start(chosenFile());
});
at('cancel').addEventListener('click', give);
addEventListener('pagehide', give); // a page kept for the back button would go on reading
listenForFiles();
offerToKeep(
  { copy: at('copy'), saveText: at('save-text'), saveJson: at('save-json') },
  () => answer,
  () => captioned,
  say,
);
offerSamples(startSample, fail).catch(() => undefined); // a page without samples is whole
