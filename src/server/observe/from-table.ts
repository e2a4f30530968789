import { Counter, Histogram, type Registry } from 'prom-client';

interface CounterRow {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

interface HistogramRow extends CounterRow {
  readonly buckets: readonly number[];
}

/** Counters by the keys of their table, with its labels as types. */
export type CountersOf<T extends Readonly<Record<string, CounterRow>>> = {
  readonly [K in keyof T]: Counter<T[K]['labels'][number]>;
};
export type HistogramsOf<T extends Readonly<Record<string, HistogramRow>>> = {
  readonly [K in keyof T]: Histogram<T[K]['labels'][number]>;
};

function mapRows<Row extends CounterRow, Made>(
  table: Readonly<Record<string, Row>>,
  make: (row: Row) => Made,
): Record<string, Made> {
  return Object.fromEntries(Object.entries(table).map(([key, row]) => [key, make(row)]));
}

export function countersOf<T extends Readonly<Record<string, CounterRow>>>(
  table: T,
  registry: Registry,
): CountersOf<T> {
  const made = mapRows(
    table,
    ({ name, help, labels }) => new Counter({ name, help, labelNames: labels, registers: [registry] }),
  );
  return made as unknown as CountersOf<T>;
}

export function histogramsOf<T extends Readonly<Record<string, HistogramRow>>>(
  table: T,
  registry: Registry,
): HistogramsOf<T> {
  const registers = [registry];
  const made = mapRows(
    table,
    ({ name, help, labels, buckets }) =>
      new Histogram({ name, help, labelNames: labels, buckets: [...buckets], registers }),
  );
  return made as unknown as HistogramsOf<T>;
}
