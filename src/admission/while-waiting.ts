/**
 * Runs work that reports how far it is, and yields its reports as they come: the newest only, where the reader is slower, and
 * none twice. @returns what the work gives; throws what it throws
 * A reader that leaves early does not wait for the work; whoever started it ends it.
 */
export async function* whileWaiting<Report, Result>(
  work: (report: (value: Report) => void) => Promise<Result>,
  everyMs = 0,
): AsyncGenerator<Report, Result> {
  let newest: { readonly value: Report } | undefined;
  let last: Report | undefined;
  let wake: () => void = () => undefined;
  const state = { settled: false };
  const promise = work((value) => {
    newest = { value };
    wake();
  });
  const end = (): void => {
    state.settled = true;
    wake();
  };
  promise.then(end, end);
  for (;;) {
    if (state.settled) return await promise;
    if (newest !== undefined) {
      const { value } = newest;
      newest = undefined;
      if (value === last) continue;
      last = value;
      yield value;
      if (everyMs > 0) await pause(everyMs, promise);
      continue;
    }
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

/** So long, or until the promise settles. */
async function pause(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([late, promise.then(ignore, ignore)]);
  clearTimeout(timer);
}

function ignore(): void {
  // told by the one who awaits the promise itself
}
