// One caption over XMLHttpRequest: fetch tells nothing of an upload's progress.

const ENDINGS = ['caption-end', 'caption-error', 'caption-aborted'];

/** One server-sent event ends with an empty line; lines that begin with a colon are heartbeats. */
function eventOf(block) {
  let name = 'message',
    data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('data: ')) data += line.slice(6);
  }
  return data === '' ? undefined : { name, data: JSON.parse(data) };
}

function sentenceOf(request) {
  try {
    return JSON.parse(request.responseText).error.message;
  } catch {
    return 'The server answered with status ' + request.status + '. Try again.';
  }
}

/**
 * Sends a file and its options. `on` has onUpload(sent, total), onEvent(name, data), and exactly one of onEnd(), onError(text, status)
 * is called last; neither after the returned function has cancelled it.
 */
export function requestCaption({ file, prompt, listen, key }, on) {
  const body = new FormData();
  body.append('stream', 'true');
  body.append('audio', String(listen));
  if (prompt.trim()) body.append('prompt', prompt);
  body.append('file', file);
  const request = new XMLHttpRequest();
  let read = 0,
    ended = false,
    over = false;
  const readOn = () => {
    if (request.status !== 200) return;
    for (let end; (end = request.responseText.indexOf('\n\n', read)) >= 0;) {
      const event = eventOf(request.responseText.slice(read, end));
      read = end + 2;
      if (event === undefined) continue;
      ended ||= ENDINGS.includes(event.name);
      on.onEvent(event.name, event.data);
    }
  };
  const finish = (text, status) => {
    if (over) return;
    over = true;
    if (text === undefined) on.onEnd();
    else on.onError(text, status);
  };
  request.upload.addEventListener('progress', ({ loaded, total }) => on.onUpload(loaded, total));
  request.addEventListener('progress', readOn);
  request.addEventListener('load', () => {
    readOn();
    if (request.status !== 200) finish(sentenceOf(request), request.status);
    else finish(ended ? undefined : 'The connection broke before the caption was complete. Try again.', 200);
  });
  request.addEventListener('error', () =>
    finish('The connection broke. Check that the server runs and the file is still there, then try again.', 0),
  );
  request.open('POST', '/v1/captions');
  if (key) request.setRequestHeader('authorization', 'Bearer ' + key);
  request.send(body);
  return () => {
    over = true;
    request.abort();
  };
}
