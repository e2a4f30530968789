// The jobs of this server: how far each is, what failed and why, and its results. Nothing is asked for until the view
// is opened: the first request may make the server open its database.

import { keyHeader, sentenceOf } from './caption-request.js';

const at = (id) => document.getElementById(id);
const LISTED = 20;
const FAILURES = 100;
const REFRESH_MS = 5000;
const FINAL = ['completed', 'failed', 'cancelled', 'expired'];
/** What can be done with a job, by the path of its request. */
const ACTIONS = {
  pause: { name: 'Pause', when: ({ status }) => status === 'in_progress' },
  resume: { name: 'Resume', when: ({ status }) => status === 'paused' },
  cancel: { name: 'Cancel', when: ({ status }) => ['validating', 'in_progress', 'paused'].includes(status) },
  retry: {
    name: 'Retry failed',
    when: ({ status, request_counts }) =>
      request_counts.failed > 0 && ['in_progress', 'paused', 'completed'].includes(status),
  },
};

const rows = new Map(); // of each listed job, by id
let timer; // of the next refresh; undefined = none is due
let follow; // stops following the newest unfinished job
let followed = ''; // its id

function say(text) {
  if (at('jobs-status').textContent !== text) at('jobs-status').textContent = text;
}
function fail(text) {
  at('jobs-error').textContent = text;
}

function make(tag, text = '', className = '') {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className !== '') node.className = className;
  return node;
}

function headers() {
  return at('key').value ? { authorization: keyHeader(at('key').value) } : {};
}

/** Throws an error with the sentence of the server. */
async function ask(path, options = {}) {
  const response = await fetch('v1/jobs' + path, { ...options, headers: { ...headers(), ...options.headers } });
  if (response.ok) return response;
  if (response.status === 401) at('key-row').hidden = false;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error?.message ?? 'The server answered with status ' + response.status + '. Try again.');
}

/** What a click starts; its error is shown. */
async function attempt(work) {
  fail('');
  try {
    await work();
  } catch (error) {
    fail(sentenceOf(error));
  }
}

function countsText({ status, request_counts: { total, completed, failed, cancelled, expired } }) {
  const parts = [status.replaceAll('_', ' '), completed + ' of ' + total + ' captioned'];
  for (const [count, name] of [
    [failed, 'failed'],
    [cancelled, 'cancelled'],
    [expired, 'expired'],
  ])
    if (count > 0) parts.push(count + ' ' + name);
  return parts.join(', ');
}

function button(name, work) {
  const node = make('button', name, 'plain');
  node.type = 'button';
  node.addEventListener('click', () => attempt(work));
  return node;
}

function rowOf(job) {
  const line = make('li');
  const name = make('h2', new Date(job.created_at * 1000).toLocaleString() + ' ');
  name.append(make('small', job.id));
  name.id = 'name-' + job.id;
  const bar = make('progress');
  bar.setAttribute('aria-labelledby', name.id);
  const counts = make('p');
  const actions = make('div', '', 'row');
  const failures = make('details');
  const list = make('ul');
  failures.append(make('summary', 'Failures'), list);
  failures.addEventListener('toggle', () => {
    if (failures.open) attempt(() => showFailures(job.id, list));
  });
  line.append(name, bar, counts, actions, failures);
  return { line, bar, counts, actions, failures, list, shown: '' };
}

function showJob(job) {
  if (!rows.has(job.id)) rows.set(job.id, rowOf(job));
  const row = rows.get(job.id);
  const { total, completed, failed, cancelled, expired } = job.request_counts;
  row.bar.max = Math.max(1, total);
  row.bar.value = FINAL.includes(job.status) ? row.bar.max : completed + failed + cancelled + expired;
  row.counts.textContent = countsText(job);
  row.failures.hidden = failed === 0;
  if (row.failures.open && row.failed !== failed) attempt(() => showFailures(job.id, row.list));
  row.failed = failed;
  const offered = Object.entries(ACTIONS).filter(([, { when }]) => when(job));
  const hasResults = completed + failed > 0;
  const isFinal = FINAL.includes(job.status);
  const wanted = [...offered.map(([action]) => action), hasResults, isFinal].join();
  if (row.shown === wanted) return row; // a button that has the focus keeps it
  row.shown = wanted;
  row.actions.replaceChildren(
    ...offered.map(([action, { name }]) => button(name, () => act(job.id, action))),
    ...(hasResults ? [button('Download results', () => downloadResults(job.id))] : []),
    ...(isFinal ? [button('Remove', () => remove(job.id))] : []),
  );
  return row;
}

async function act(id, action) {
  const response = await ask('/' + id + '/' + action, { method: 'POST' });
  showJob(await response.json());
  await refresh();
}

async function remove(id) {
  await ask('/' + id, { method: 'DELETE' });
  await refresh();
  say('Removed.');
}

async function downloadResults(id) {
  const bytes = await (await ask('/' + id + '/results')).blob();
  const link = make('a');
  link.href = URL.createObjectURL(bytes);
  link.download = id + '.jsonl';
  link.click();
  URL.revokeObjectURL(link.href);
}

async function showFailures(id, list) {
  const { data, has_more } = await (await ask('/' + id + '/items?state=failed&limit=' + FAILURES)).json();
  const lines = data.map(({ id: item, media, error }) => {
    const line = make('li', (media || item) + ': ');
    line.append(make('span', error.message, 'reason'), ' ', make('small', error.code));
    return line;
  });
  if (has_more) lines.push(make('li', 'and more: they are in the results.'));
  list.replaceChildren(...lines);
}

/** The newest jobs; again after a while as long as one of them is not done, also when the server is away. */
async function refresh() {
  clearTimeout(timer);
  timer = undefined;
  const { data, has_more } = await list().catch((error) => {
    if (rows.size > 0) refreshLater();
    throw error;
  });
  for (const id of rows.keys()) if (!data.some((job) => job.id === id)) rows.delete(id);
  const lines = data.map((job) => showJob(job).line);
  const before = [...at('job-list').children];
  if (lines.length !== before.length || lines.some((line, index) => line !== before[index]))
    at('job-list').replaceChildren(...lines);
  say(data.length === 0 ? 'There are no jobs.' : has_more ? 'These are the newest ' + LISTED + ' jobs.' : '');
  const open = data.filter(({ status }) => !FINAL.includes(status));
  if (open.length === 0 || !at('jobs').open) return;
  followJob(open[0].id);
  refreshLater();
}

async function list() {
  return await (await ask('?limit=' + LISTED)).json();
}

function refreshLater() {
  if (!at('jobs').open) return;
  const again = () =>
    refresh().then(
      () => fail(''),
      (error) => fail(sentenceOf(error)),
    );
  timer = setTimeout(again, REFRESH_MS);
}

/** Shows every change of one job as it happens: a browser opens few connections, so the others wait for a refresh. */
function followJob(id) {
  if (followed === id) return;
  follow?.abort();
  follow = new AbortController();
  followed = id;
  const { signal } = follow;
  readEvents(id, signal)
    .catch(() => undefined) // the next refresh shows it all the same
    .finally(() => {
      if (!signal.aborted) followed = '';
    });
}

async function readEvents(id, signal) {
  const response = await ask('/' + id + '/events', { signal, headers: { accept: 'text/event-stream' } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
      if (data === undefined) continue;
      const job = JSON.parse(data);
      showJob(job);
      if (FINAL.includes(job.status)) say('The job is ' + job.status + '.');
    }
  }
}

async function startJob() {
  const media = at('job-media')
    .value.split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (media.length === 0) throw new Error('Write an address in each line first, such as media://films/a.mp4.');
  const prompt = at('prompt').value;
  const options = { ...(prompt.trim() ? { prompt } : {}), ...(at('listen').checked ? {} : { audio: false }) };
  const body = JSON.stringify({ items: media.map((one) => ({ media: one })), options });
  await ask('', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  at('job-media').value = '';
  await refresh();
  say('The job is made.');
}

function stop() {
  clearTimeout(timer);
  follow?.abort();
  followed = '';
}

export function listenForJobs() {
  at('jobs').addEventListener('toggle', () => {
    if (at('jobs').open) attempt(refresh);
    else stop();
  });
  const goOn = () => {
    if (at('jobs').open) attempt(refresh);
  };
  at('key').addEventListener('change', goOn);
  at('job-form').addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(startJob);
  });
  addEventListener('pagehide', stop);
  addEventListener('pageshow', goOn); // back from another page
}
