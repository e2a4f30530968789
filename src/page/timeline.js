// The segments of a long file: each under its times, the running one marked, and as subtitles of the player.

const at = (id) => document.getElementById(id);
let lines = []; // of each segment: its list item and its text
let track; // subtitles, made once: a player keeps every track that it was given

/** Cue texts are markup. */
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function player() {
  return at('video').hidden ? at('sound') : at('video');
}

function jumpTo(seconds) {
  player().currentTime = seconds;
  player()
    .play()
    .catch(() => undefined);
}

export function clearTimeline() {
  lines = [];
  at('timeline').replaceChildren();
  at('timeline').hidden = true;
  at('subtitles-row').hidden = true;
  at('subtitles').checked = false;
  if (!track) return;
  track.mode = 'hidden'; // a disabled track does not tell its cues
  for (const cue of [...track.cues]) track.removeCue(cue);
  track.mode = 'disabled';
}

/** Nothing is being captioned any more, also where the end of a segment never came. */
export function endTimeline() {
  for (const { line } of lines) line.removeAttribute('aria-current');
}

/** A segment is being captioned. */
export function startSegment({ index, start, start_time, end_time }) {
  const [line, jump, text] = ['li', 'button', 'p'].map((tag) => document.createElement(tag));
  jump.type = 'button';
  jump.className = 'plain';
  jump.textContent = start_time + ' – ' + end_time;
  jump.addEventListener('click', () => jumpTo(start));
  line.setAttribute('aria-current', 'true');
  line.append(jump, text);
  at('timeline').append(line);
  at('timeline').hidden = false;
  lines[index] = { line, text };
}

export function addToSegment(index, text) {
  lines[index]?.text.append(text);
}

/** Its caption is complete. */
export function endSegment({ index, start, end, caption, error }) {
  const { line, text } = lines[index];
  line.removeAttribute('aria-current');
  text.textContent = error ? error.message : caption;
  if (caption === '' || at('video').hidden) return;
  track ??= at('video').addTextTrack('captions', 'Segments', document.documentElement.lang);
  track.mode = at('subtitles').checked ? 'showing' : 'hidden';
  track.addCue(new VTTCue(start, end, escaped(caption)));
  at('subtitles-row').hidden = false;
}

/** The switch of the subtitles, and the segment that plays. */
export function listenForTimeline() {
  at('subtitles').addEventListener('change', () => {
    if (track) track.mode = at('subtitles').checked ? 'showing' : 'hidden';
  });
}

/** WebVTT of the segments of an answer. */
export function vttOf(segments) {
  const cues = segments
    .filter(({ caption }) => caption !== '')
    .map(({ start_time, end_time, caption }) => {
      const lines = caption.split('\n').filter((line) => line.trim() !== '');
      return '\n' + start_time + ' --> ' + end_time + '\n' + lines.map(escaped).join('\n') + '\n';
    });
  return 'WEBVTT\n' + cues.join('');
}
