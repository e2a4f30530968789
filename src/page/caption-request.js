// Requests one caption with XMLHttpRequest, because fetch reports no upload progress.

const FINAL_EVENTS = ['caption-end', 'caption-error', 'caption-aborted'];

/** A key as a header. No key has other characters, and browsers send no header with them. */
export function keyHeader(key) {
  return 'Bearer ' + key.trim().replace(/[^\x21-\x7e]/g, '?');
}

/** Browsers have words of their own, such as "Failed to fetch", for a connection that broke. */
export function sentenceOf(error) {
  return error instanceof TypeError
    ? 'The connection broke. Check that the server runs, then try again.'
    : error.message;
}

/** Parses one server-sent event; lines that begin with a colon are heartbeats. */
function eventOf(block) {
  let name = 'message',
    data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('data: ')) data += line.slice(6);
  }
  return data === '' ? undefined : { name, data: JSON.parse(data) };
}

function errorMessageOf(request) {
  try {
    return JSON.parse(request.responseText).error.message;
  } catch {
    return 'The server answered with status ' + request.status + '. Try again.';
  }
}

/**
 * Sends a file and its options. Calls `on.onUpload(sent, total)`, `on.onEvent(name, data)`, and last exactly one of
 * `on.onEnd()` and `on.onError(text, status)`. The returned function cancels the request; nothing is called after that.
 */
export function requestCaption({ file, prompt, listen, key }, on) {
  const body = new FormData();
  body.append('stream', 'true');
  body.append('segments', 'auto');
  body.append('audio', String(listen));
  if (prompt.trim()) body.append('prompt', prompt);
  body.append('file', file);
  const request = new XMLHttpRequest();
  let read = 0, // characters of the response that have been parsed
    ended = false, // the final event has come
    over = false; // finished or cancelled
  const readEvents = () => {
    if (request.status !== 200) return;
    for (let end; (end = request.responseText.indexOf('\n\n', read)) >= 0;) {
      const event = eventOf(request.responseText.slice(read, end));
      read = end + 2;
      if (event === undefined) continue;
      ended ||= FINAL_EVENTS.includes(event.name);
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
  request.addEventListener('progress', readEvents);
  request.addEventListener('load', () => {
    readEvents();
    if (request.status !== 200) finish(errorMessageOf(request), request.status);
    else finish(ended ? undefined : 'The connection broke before the caption was complete. Try again.', 200);
  });
  request.addEventListener('error', () =>
    finish('The connection broke. Check that the server runs and the file is still there, then try again.', 0),
  );
  request.open('POST', 'v1/captions');
  if (key) request.setRequestHeader('authorization', keyHeader(key));
  request.send(body);
  return () => {
    over = true;
    request.abort();
  };
}
