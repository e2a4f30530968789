// The file to caption: chosen, dropped on the page, or a sample; with a preview as a video, a sound or a picture.

import { sentenceOf } from './caption-request.js';

const PREVIEWS = { video: 'video', sound: 'audio', picture: 'image' };
const at = (id) => document.getElementById(id);
let chosen;
let truth = '';
let shownUrl = '';

export const chosenFile = () => chosen;
/** The reference caption of a chosen sample; empty for other files. */
export const reference = () => truth;

function choose(file, caption = '') {
  chosen = file;
  truth = caption;
  const type = file ? file.type.split('/')[0] : '';
  URL.revokeObjectURL(shownUrl);
  shownUrl = file ? URL.createObjectURL(file) : '';
  for (const [id, shows] of Object.entries(PREVIEWS)) {
    at(id).hidden = type !== shows;
    if (at(id).hidden) at(id).removeAttribute('src');
    else at(id).src = shownUrl;
  }
}

/** Plays the chosen video or sound from its start, if the browser allows it. */
export function play() {
  for (const id of ['video', 'sound']) {
    if (at(id).hidden) continue;
    at(id).currentTime = 0;
    at(id)
      .play()
      .catch(() => undefined);
  }
}

async function chooseSample({ name, url, caption }) {
  const response = await fetch(url);
  if (!response.ok) throw new Error('The sample cannot be loaded (status ' + response.status + ').');
  const bytes = await response.arrayBuffer();
  at('file').value = '';
  choose(new File([bytes], name, { type: 'video/mp4' }), caption);
}

/** Adds a button for each sample clip of the model. A click chooses the sample and calls `start()`. */
export async function offerSamples(start, fail) {
  const { samples } = await (await fetch('page/samples')).json();
  for (const sample of samples) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'plain';
    const kind = document.createElement('small');
    kind.textContent = sample.kind;
    button.append(sample.name, ' ', kind);
    button.addEventListener('click', () => chooseSample(sample).then(start, (error) => fail(sentenceOf(error))));
    at('samples').append(button);
  }
  at('samples').hidden = samples.length === 0;
}

const carriesFile = (event) => event.dataTransfer.types.includes('Files');

/** Listens to the file field, and to files dropped anywhere on the page. */
export function listenForFiles() {
  at('file').addEventListener('change', () => choose(at('file').files[0]));
  // The model reads more formats than browsers show.
  for (const id in PREVIEWS)
    at(id).addEventListener('error', () => {
      at(id).hidden = true;
    });
  addEventListener('dragover', (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    at('drop').classList.add('over');
  });
  for (const over of ['dragleave', 'drop']) addEventListener(over, () => at('drop').classList.remove('over'));
  addEventListener('drop', (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    at('file').value = '';
    choose(event.dataTransfer.files[0]);
  });
}
