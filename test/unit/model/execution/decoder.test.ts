// copyPrefix and recorded steps with a fake runtime that notes its calls: which pieces are copied, the state after a
// failed copy, and what a session is given that records its runs.
import { describe, expect, it } from 'vitest';
import { newFloats, type FloatDType } from '../../../../src/base/floats.ts';
import { readModelConfig } from '../../../../src/model/checkpoint/config.ts';
import { SlotDecoder } from '../../../../src/model/execution/decoder.ts';
import type {
  HostTensor,
  RunOptions,
  Runtime,
  Session,
  SlabPiece,
  Tensors,
} from '../../../../src/model/runtime/runtime.ts';
import type { Device } from '../../../../src/settings/engine-settings.ts';
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
    pagePool: () => Promise.reject(new Error('not asked for')),
    commit: () => Promise.reject(new Error('not asked for')),
    decommit: () => Promise.reject(new Error('not asked for')),
    close: () => Promise.resolve(),
  };
}

const session: Session = { inputs: [], outputs: [], run: () => Promise.resolve(), release: () => Promise.resolve() };

async function decoderOf(
  notes: Notes,
  used: { session: Session; slots: number; device?: Device; dtype?: FloatDType } = { session, slots: 2 },
): Promise<{ decoder: SlotDecoder; layers: number; kvHeads: number; headDim: number }> {
  const config = await readModelConfig(golden('checkpoints/tiny-a'));
  const options = {
    runtime: notingRuntime(notes),
    device: { type: 'cpu' },
    dtype: 'float32',
    ...used,
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

describe('SlotDecoder.prefill', () => {
  const notes: Notes = { copies: [], allocated: [], failAt: -1 };
  const chunk = { slot: 0, start: 0, ids: new Int32Array(3), positions: new Int32Array(9), wantLogits: false };
  const mediaRows = Int32Array.of(0, 2);

  it.each(['float32', 'float16', 'bfloat16'] as const)('feeds embeddings of %s as they are', async (dtype) => {
    const fed: Tensors[] = [];
    const run = (feeds: Tensors): Promise<void> => {
      fed.push(feeds);
      return Promise.resolve();
    };
    const { decoder } = await decoderOf(notes, { session: { ...session, run }, slots: 1, dtype });
    const mediaEmbeds = newFloats(dtype, 2 * decoder.hiddenSize);
    await decoder.prefill({ ...chunk, mediaRows, mediaEmbeds });
    expect(fed[0]?.['media_embeds']).toMatchObject({ dtype, dims: [2, decoder.hiddenSize] });
    expect((fed[0]?.['media_embeds'] as HostTensor).data).toBe(mediaEmbeds);
  });

  it.each(['float32', 'bfloat16'] as const)('refuses embeddings of another kind than %s', async (dtype) => {
    const { decoder } = await decoderOf(notes, { session, slots: 1, dtype });
    const mediaEmbeds = newFloats(dtype === 'float32' ? 'bfloat16' : 'float32', 2 * decoder.hiddenSize);
    const refused = decoder.prefill({ ...chunk, mediaRows, mediaEmbeds });
    await expect(refused).rejects.toThrow(`bytes of ${dtype} media values. This is a bug.`);
  });
});

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

describe('SlotDecoder.decode on a session that records its runs', () => {
  interface Run {
    /** values of the host tensors, which the next run overwrites */
    readonly values: Readonly<Record<string, number[]>>;
    readonly recording: number | undefined;
  }

  function recordingSession(runs: Run[]): Session {
    const run = (feeds: Tensors, fetches: Tensors, { recording }: RunOptions = {}): Promise<void> => {
      const { data, dims } = fetches['logits'] as HostTensor;
      // The logits of a row tell its slot.
      for (let row = 0; row < (dims[0] ?? 0); row++) data[row * (dims[1] ?? 0)] = row;
      const values = Object.entries(feeds).flatMap(([name, tensor]) =>
        tensor.kind === 'host' ? [[name, Array.from(tensor.data as Int32Array, Number)] as const] : [],
      );
      runs.push({ values: Object.fromEntries(values), recording });
      return Promise.resolve();
    };
    return { ...session, recordings: true, run };
  }

  it('starts at the first slot, has one of few sizes and gives the rows that were asked for', async () => {
    const runs: Run[] = [];
    const notes: Notes = { copies: [], allocated: [], failAt: -1 };
    const { decoder } = await decoderOf(notes, { session: recordingSession(runs), slots: 6 });
    await prefill(decoder, 2, 0, 5);
    await prefill(decoder, 4, 0, 7);
    const row = (slot: number) => ({ slot, token: 100 + slot, position: 50 + slot });
    for (const slots of [[0], [1], [2], [2, 4], [0, 2, 4, 5]]) {
      const scores = await decoder.decode(slots.map(row));
      expect(scores.map((found) => (found.kind === 'full' ? found.logits[0] : -1))).toEqual(slots);
      expect((await decoder.logits(slots.length - 1))[0]).toBe(slots.at(-1));
    }
    expect(runs.map(({ recording }) => recording)).toEqual([undefined, undefined, 1, 2, 4, 6, 6]);
    const last = runs.at(-1)!;
    expect(last.values['input_ids']).toEqual([100, 0, 102, 0, 104, 105]);
    expect(last.values['position_ids']).toEqual(Array.from({ length: 3 }, () => [50, 0, 52, 0, 54, 55]).flat());
    // Slots without a row write where their next token will be written.
    expect(last.values['seqlens_k']).toEqual([1, 1, 7, 0, 8, 0]);
    // The kernels of a recording are those of the fullest slots.
    expect(last.values['total_len']).toEqual([CAPACITY + 1]);
    expect(runs[0]?.values['total_len']).toEqual([5]);
  });

  it('tells on a GPU which sizes were recorded at load, and nothing where none ever is', async () => {
    const notes: Notes = { copies: [], allocated: [], failAt: -1 };
    const onCard = { device: { type: 'cuda', index: 0 }, slots: 6 } as const;
    const { decoder } = await decoderOf(notes, { session: { ...session, recordings: true }, ...onCard });
    expect(decoder.recordedSteps).toEqual({ 1: false, 2: false, 4: false, 6: false });
    await decoder.recordSteps();
    expect(decoder.recordedSteps).toEqual({ 1: true, 2: true, 4: true, 6: true });
    const { decoder: fallen } = await decoderOf(notes, { session, ...onCard });
    await fallen.recordSteps();
    expect(fallen.recordedSteps).toEqual({ 1: false, 2: false, 4: false, 6: false });
    expect((await decoderOf(notes)).decoder.recordedSteps).toBeUndefined();
  });
});
