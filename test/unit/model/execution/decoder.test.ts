// copyPrefix with a fake runtime that records its calls: which pieces are copied, and the state after a failed copy.
import { describe, expect, it } from 'vitest';
import { readModelConfig } from '../../../../src/model/checkpoint/config.ts';
import { SlotDecoder } from '../../../../src/model/execution/decoder.ts';
import type { Runtime, Session, SlabPiece } from '../../../../src/model/runtime/runtime.ts';
import { golden } from '../../../fixtures/golden.ts';

const CAPACITY = 20;
const NOTHING = { mediaRows: new Int32Array(0), mediaEmbeds: new Float32Array(0) };

interface Notes {
  readonly copies: { readonly slabs: readonly number[]; readonly pieces: readonly SlabPiece[] }[];
  readonly allocated: number[];
  failAt: number;
}

function notingRuntime(notes: Notes): Runtime {
  const numbers = new Map<object, number>();
  return {
    name: 'node',
    version: '0',
    createSession: () => Promise.reject(new Error('not asked for')),
    allocate: (dtype, elements) => {
      const slab = { dtype, elements, release: () => undefined };
      numbers.set(slab, notes.allocated.push(elements) - 1);
      return Promise.resolve(slab);
    },
    copyWithin: (slabs, pieces) => {
      notes.copies.push({ slabs: slabs.map((slab) => numbers.get(slab) ?? -1), pieces });
      return notes.copies.length === notes.failAt ? Promise.reject(new Error('the device is lost')) : Promise.resolve();
    },
    read: () => Promise.reject(new Error('not asked for')),
    close: () => Promise.resolve(),
  };
}

const session: Session = { inputs: [], outputs: [], run: () => Promise.resolve(), release: () => Promise.resolve() };

async function decoderOf(
  notes: Notes,
): Promise<{ decoder: SlotDecoder; layers: number; kvHeads: number; headDim: number }> {
  const config = await readModelConfig(golden('checkpoints/tiny-a'));
  const options = {
    runtime: notingRuntime(notes),
    session,
    device: { type: 'cpu' },
    dtype: 'float32',
    slots: 2,
    prefixSlots: 1,
    capacity: CAPACITY,
  } as const;
  return { decoder: await SlotDecoder.create(config, options), ...config.text };
}

function prefill(decoder: SlotDecoder, slot: number, start: number, tokens: number): Promise<unknown> {
  return decoder.prefill({
    slot,
    start,
    ids: new Int32Array(tokens),
    positions: new Int32Array(3 * tokens),
    ...NOTHING,
    wantLogits: false,
  });
}

describe('SlotDecoder.copyPrefix', () => {
  it('copies one piece per head of the keys and values of all layers at once, in slabs with room for all slots', async () => {
    const notes: Notes = { copies: [], allocated: [], failAt: -1 };
    const { decoder, layers, kvHeads, headDim } = await decoderOf(notes);
    await prefill(decoder, 1, 0, 12);
    await decoder.copyPrefix(1, 2, 7);
    const head = (CAPACITY + 1) * headDim;
    expect(notes.allocated).toEqual(new Array(2 * layers).fill(3 * kvHeads * head));
    const pieces = Array.from({ length: kvHeads }, (_, index) => ({
      from: (kvHeads + index) * head,
      to: (2 * kvHeads + index) * head,
      elements: 7 * headDim,
    }));
    expect(notes.copies).toHaveLength(1);
    expect(notes.copies[0]?.pieces).toEqual(pieces);
    expect(notes.copies[0]?.slabs.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 2 * layers }, (_, index) => index),
    );
  });

  it('leaves the target empty and the source unchanged when a copy fails', async () => {
    const notes: Notes = { copies: [], allocated: [], failAt: 1 };
    const { decoder } = await decoderOf(notes);
    await prefill(decoder, 0, 0, 12);
    await prefill(decoder, 1, 0, 5);
    await expect(decoder.copyPrefix(0, 1, 12)).rejects.toThrow('the device is lost');
    await prefill(decoder, 0, 12, 1);
    await prefill(decoder, 1, 0, 3);
    await decoder.copyPrefix(0, 1, 13);
    await prefill(decoder, 1, 13, 1);
  });
});
