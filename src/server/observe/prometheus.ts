// Tables of metrics as prom-client objects.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

interface CounterRow {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

interface HistogramRow extends CounterRow {
  readonly buckets: readonly number[];
}

/** Counters under the keys of their table, with typed labels. */
export type CountersOf<T extends Readonly<Record<string, CounterRow>>> = {
  readonly [K in keyof T]: Counter<T[K]['labels'][number]>;
};
export type HistogramsOf<T extends Readonly<Record<string, HistogramRow>>> = {
  readonly [K in keyof T]: Histogram<T[K]['labels'][number]>;
};

/** One value of a metric, with its labels. */
export type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>];

/** A metric whose value is read from the running system at every scrape. */
export interface Reading {
  readonly type: 'gauge' | 'counter';
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  readonly read: () => readonly Sample[];
}

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

export function addReading(registry: Registry, { type, name, help, labels = [], read }: Reading): void {
  const options = { name, help, labelNames: labels, registers: [registry] };
  if (type === 'gauge') {
    new Gauge({
      ...options,
      collect() {
        this.reset(); // drops label values that no longer occur
        for (const [value, values] of read()) this.set(values ?? {}, value);
      },
    });
    return;
  }
  new Counter({
    ...options,
    collect() {
      this.reset();
      for (const [value, values] of read()) this.inc(values ?? {}, value);
    },
  });
}
