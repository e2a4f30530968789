import { ERRORS, type ErrorCode } from '../../src/base/errors.ts';

/** What each code means, for the page alone: the message of an error says what to do about it. */
const MEANINGS: Readonly<Record<ErrorCode, string>> = {
  bad_request: 'a field or flag has a wrong value; the message names it',
  unknown_field: 'a field or flag that does not exist',
  unsupported_field: 'a field of the OpenAI API that asks for something this server cannot do',
  unauthorized: 'no key, or a key this server does not know',
  forbidden: 'without keys: asked under a foreign name, or by a page of another site',
  encoding_unsupported: 'the body is compressed',
  not_found: 'no such route, or no such request to cancel',
  model_not_found: 'another model than the one this server runs',
  method_not_allowed: 'the route exists, but not with this method',
  media_not_found: 'there is no such file',
  media_forbidden_path: 'the path is outside the named media roots',
  media_forbidden_host: 'the URL leads to a host or an address this server does not fetch from',
  media_unreachable: 'the URL gives no file: no answer, an error, too slow, or broken off',
  media_not_a_file: 'a directory, a pipe or a device',
  media_empty: 'the file has no bytes',
  media_unsupported: 'not a supported kind of file, such as text or a playlist',
  media_undecodable: 'too damaged to give two frames or any sound',
  media_no_streams: 'the file has neither pictures nor sound',
  media_too_short: 'no duration, one frame, or nothing to caption',
  media_too_long: 'longer than `--max-media-seconds`',
  media_too_large: 'too many bytes, or too many pixels a frame',
  media_aspect_ratio: 'one side is more than 200 times the other',
  media_timeout: 'decoding took longer than its limit',
  context_length_exceeded: 'prompt and caption do not fit; the message says by how much, and what to lower',
  checkpoint_not_found: 'there is no model directory',
  checkpoint_invalid: 'config, tokenizer or shards are damaged or of another model',
  tensor_missing: 'a weight is not in the checkpoint',
  tensor_invalid: 'a weight has another shape or type than the config says',
  precision_unsupported: 'no such precision, or not on this device',
  export_incomplete: 'an export that was not finished, or lost a file',
  export_stale: 'the checkpoint has changed or moved since the export',
  runtime_unavailable: 'the runtime asked for is not built or not installed',
  device_unavailable: 'no GPU, or its libraries are missing',
  deadline_exceeded: 'the timeout of the request has passed; the message names the stage',
  rate_limited: 'more requests in a minute than the key may send',
  queue_full: 'the server has as much work as it takes; `retry-after` says when to try again',
  storage_full: 'no room for media on disk, or for bodies in memory, at the moment',
  database_unavailable: 'the database of jobs and files cannot be reached or opened at the moment',
  engine_error:
    'ONNX Runtime failed in a run, or a decoder was killed or had no room to start, as where memory is short',
  engine_unavailable: 'the engine died while it had the request, or the server is stopping',
  directory_unwritable: 'the cache or the place of an export cannot be made or written to',
  ffmpeg_missing: 'ffmpeg 5.1 or newer is not installed',
  aborted: 'cancelled by the client, a signal or a shutdown',
  internal: 'a bug in this program; please report it',
};

/** The whole of errors.md. */
export function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, exit, retry }]) =>
      `| \`${code}\` | ${status} | ${exit} | ${retry ? 'yes' : 'no'} | ${MEANINGS[code as ErrorCode]} |`,
  );
  return `# Errors

<!-- Generated from src/base/errors.ts by test/docs/make-pages.ts: do not edit by hand. -->

Every error has a code and a sentence that says what to do. The code decides the HTTP status, the exit code of the
command line, and whether the same request may succeed later (the header \`x-should-retry\`). The shape of an error answer
is in [http-api.md](http-api.md#errors).

Exit codes: 1 a bug, 2 wrong usage, 3 the media, 4 the model or checkpoint, 5 runtime, device or service, 6 a missing program, 130 interrupted.

| code | HTTP | exit | retry | meaning |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
