import type { Socket } from 'node:net';
import { AvocadoError } from '../../base/errors.ts';
import { errorBody } from '../wire/error-reply.ts';

function complaintOf(code: string | undefined): readonly [status: string, sentence: string] {
  if (code === 'HPE_HEADER_OVERFLOW')
    return [
      '431 Request Header Fields Too Large',
      'The head of the request is larger than this server takes. Send fewer or shorter headers.',
    ];
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return ['408 Request Timeout', 'The head of the request took too long to arrive. Send it at once.'];
  return [
    '400 Bad Request',
    'What arrived is no HTTP request this server can read. Send HTTP/1.1 with a valid head, and a body as long as it says.',
  ];
}

/** What no HTTP request could be read from gets our shape of answer too, and its connection is closed. */
export function answerBrokenHead(error: Error, socket: Socket): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, sentence] = complaintOf(code);
  const body = JSON.stringify(errorBody(new AvocadoError('bad_request', sentence)));
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
