// The file to caption: chosen, dropped, or a sample; shown as a video, a sound or a picture.

const PREVIEWS = { video: 'video', sound: 'audio', picture: 'image' };
const at = (id) => document.getElementById(id);
let chosen;
let known = '';
let shownUrl = '';

export const chosenFile = () => chosen;
/** What is in the chosen file, where somebody knows. */
export const reference = () => known;

export function choose(file, truth = '') {
  chosen = file;
  known = truth;
  const type = file ? file.type.split('/')[0] : '';
  URL.revokeObjectURL(shownUrl);
  shownUrl = file ? URL.createObjectURL(file) : '';
  for (const [id, shows] of Object.entries(PREVIEWS)) {
    at(id).hidden = type !== shows;
    if (at(id).hidden) at(id).removeAttribute('src');
    else at(id).src = shownUrl;
  }
}

/** Plays the chosen video or sound from its start, where the browser lets us. */
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
  if (!response.ok) throw new Error('The sample cannot be had (status ' + response.status + ').');
  const bytes = await response.arrayBuffer();
  at('file').value = '';
  choose(new File([bytes], name, { type: 'video/mp4' }), caption);
}

/** Buttons for the samples that came with the model: one click, and `start()` is called with it chosen. */
export async function offerSamples(start, fail) {
  const { samples } = await (await fetch('/page/samples')).json();
  for (const sample of samples) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'plain';
    const kind = document.createElement('small');
    kind.textContent = sample.kind;
    button.append(sample.name, ' ', kind);
    button.addEventListener('click', () => chooseSample(sample).then(start, (error) => fail(error.message)));
    at('samples').append(button);
  }
  at('samples').hidden = samples.length === 0;
}

const carriesFile = (event) => event.dataTransfer.types.includes('Files');

/** Listens to the file field and to what is dropped anywhere on the page. */
export function listenForFiles() {
  at('file').addEventListener('change', () => choose(at('file').files[0]));
  /* The model reads more formats than browsers show. */
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
