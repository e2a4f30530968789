type Turn<T> = { readonly source: AsyncIterator<T>; readonly result: IteratorResult<T> };

function turnOf<T>(source: AsyncIterator<T>): Promise<Turn<T>> {
  const turn = source.next().then((result) => ({ source, result }));
  turn.catch(() => undefined); // reported by whoever awaits it; nobody does when another one fails first
  return turn;
}

/**
 * Several streams as one, each value as soon as it is there; who has spoken waits for the others.
 * @throws what the first failing source throws; the others are then left as they are, for the caller to stop
 */
export async function* merge<T>(sources: readonly AsyncIterator<T>[]): AsyncGenerator<T> {
  const turns = new Map(sources.map((source) => [source, turnOf(source)]));
  while (turns.size > 0) {
    const { source, result } = await Promise.race(turns.values());
    turns.delete(source);
    if (result.done === true) continue;
    yield result.value;
    turns.set(source, turnOf(source));
  }
}
