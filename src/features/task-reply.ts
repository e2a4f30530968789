// Errors lose their class and code on the way between threads, so a task answers with plain data instead of throwing.
import { asAvocadoError, AvocadoError, type ErrorCode } from '../base/errors.ts';

export type TaskReply<T> = { readonly kind: 'done'; readonly value: T } | TaskFailure;

interface TaskFailure {
  readonly kind: 'failed';
  readonly code: ErrorCode;
  readonly message: string;
  readonly param: string | undefined;
  readonly stack: string;
}

/** Never rejects. */
export async function replyOf<T>(work: () => T | Promise<T>): Promise<TaskReply<T>> {
  try {
    return { kind: 'done', value: await work() };
  } catch (thrown) {
    const error = asAvocadoError(thrown);
    const origin = error.cause instanceof Error ? `\nCause: ${error.cause.stack ?? error.cause.message}` : '';
    const stack = `${error.stack ?? error.message}${origin}`;
    return { kind: 'failed', code: error.code, message: error.message, param: error.param, stack };
  }
}

/** The value, or the task's error with its class restored and the other thread's stack as its cause. @throws AvocadoError */
export function valueOf<T>(reply: TaskReply<T>): T {
  switch (reply.kind) {
    case 'done':
      return reply.value;
    case 'failed': {
      const cause = new Error(reply.message);
      cause.stack = reply.stack;
      throw new AvocadoError(reply.code, reply.message, {
        cause,
        ...(reply.param === undefined ? {} : { param: reply.param }),
      });
    }
    default:
      return reply satisfies never;
  }
}
