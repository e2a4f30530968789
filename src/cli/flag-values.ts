// Text of a flag → value. Commander puts the flag's name before these complaints.
import { InvalidArgumentError } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import { PRECISIONS, type Precision } from '../model/checkpoint/config-types.ts';
import type { Device } from '../model/runtime/runtime.ts';

export function numberValue(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

export function wholeNumber(minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = numberValue(text);
    if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
    const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** Seconds and the like. */
export function positiveNumber(text: string): number {
  const value = numberValue(text);
  if (value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

export function deviceValue(text: string): Device {
  if (text === 'cpu') return { type: 'cpu' };
  const match = /^cuda(?::(\d{1,3}))?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('It must be cpu, cuda or cuda:N.');
  return { type: 'cuda', index: Number(match[1] ?? 0) };
}

/** @throws AvocadoError `precision_unsupported` */
export function precisionValue(text: string): Precision {
  const precision = PRECISIONS.find((name) => name === text);
  if (precision !== undefined) return precision;
  throw new AvocadoError('precision_unsupported', `--precision must be one of ${PRECISIONS.join(', ')}, not ${text}.`, {
    param: 'precision',
  });
}

export function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}
