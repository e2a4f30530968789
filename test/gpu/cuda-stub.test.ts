// The real CUDA provider on libraries of CUDA that only write down what they are asked (stub/cuda-stub.cc): which nodes
// and kernels run on the device, what is copied and waited for, and which errors a machine without all of it gives. It
// proves nothing about results or time. The provider is fetched by `npm run test:gpu`, once.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { AttentionOptions } from '../../src/model/graphs/decoder-attention.ts';
import { SHAPES } from '../bench/checkpoint-shapes.ts';
import { writeModel } from '../bench/make-checkpoint.ts';
import { golden } from '../fixtures/golden.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { describeRuntime } from '../../src/model/runtime/describe-runtime.ts';
import { outputFiles } from './check/output-files.ts';
import { prepare, stubEnvironment, type Prepared } from './stub/prepared.ts';

const TRACE = fileURLToPath(new URL('stub/trace.ts', import.meta.url));
const scratch = scratchDirectory();

const { gpus } = await describeRuntime();
const prepared = prepare();
if (typeof prepared === 'string') console.warn(`Skipped: test/gpu/cuda-stub.test.ts. ${prepared}`);
if (gpus.length > 0)
  console.warn('Skipped: CUDA or cuDNN left out. This machine has a GPU, and so may have both elsewhere.');

interface Trace {
  readonly layers: number;
  readonly kvHeads: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly slots: number;
  /** rows of media embeddings in the media chunk, and out of each tower */
  readonly tokens: Readonly<Record<'media' | 'vision' | 'sound', number>>;
  readonly parts: Readonly<Record<string, readonly string[]>>;
  /** of the step, or '' */
  readonly failure: string;
  readonly code?: string;
  readonly message?: string;
}

interface Given {
  readonly checkpoint?: string;
  readonly cacheBytes?: string;
  readonly attention?: AttentionOptions;
  readonly card?: number;
}

/** Runs the model on the stub in a process of its own: the dynamic loader looks for libraries when one starts. */
function trace(
  name: string,
  environment: Readonly<Record<string, string>>,
  precision = 'bf16',
  { checkpoint = golden('checkpoints/tiny-b'), cacheBytes = '', attention = {}, card = 0 }: Given = {},
) {
  if (typeof prepared === 'string') throw new Error(prepared);
  const log = scratch(`${name}.log`);
  const env = {
    ...stubEnvironment(prepared, log),
    ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '1',
    ...environment,
  };
  const options = [checkpoint, precision, log, cacheBytes, JSON.stringify(attention), String(card)];
  const args = ['--import', 'tsx', TRACE, ...options];
  const output = outputFiles();
  return new Promise<{ trace: Trace; said: string; loading: readonly string[] }>((resolve, reject) => {
    spawn(process.execPath, args, { env, stdio: output.stdio }).on('close', (code, signal) => {
      const { stdout, stderr } = output.take();
      // The provider writes the names of attention kernels to stdout, before our one line.
      const at = stdout.search(/\{"(layers|code)"/);
      if (at < 0) reject(new Error(`ended with ${signal ?? String(code)}\n${stderr.slice(-2000)}`));
      else {
        const logged = existsSync(log) ? readFileSync(log, 'utf8') : '';
        const loading = logged.slice(0, logged.indexOf('PART')).split('\n');
        resolve({ trace: JSON.parse(stdout.slice(at)) as Trace, said: stdout.slice(0, at) + stderr, loading });
      }
    });
  });
}

function counts(said: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [, operator = '', kernel = ''] of said.matchAll(/Operator=(\w+).*?SdpaKernel=(\w+)/g))
    found[`${operator} ${kernel}`] = (found[`${operator} ${kernel}`] ?? 0) + 1;
  return found;
}

function bytesCopied(lines: readonly string[], direction: string): number {
  return lines
    .map((line) => line.split(' '))
    .filter(([kind, way]) => kind === 'COPY' && way === direction)
    .reduce((sum, [, , bytes]) => sum + Number(bytes), 0);
}

function those(lines: readonly string[], start: string): readonly string[] {
  return lines.filter((line) => line.startsWith(start));
}

describe.skipIf(typeof prepared === 'string')('the CUDA provider on the stub', () => {
  let run: Awaited<ReturnType<typeof trace>>;
  beforeAll(async () => {
    run = await trace('bf16', {});
  });

  it('places every node of the three graphs on CUDA, but for shapes, and copies nothing between devices', () => {
    expect(run.trace.message).toBeUndefined();
    const { said } = run;
    const whole = [...said.matchAll(/All nodes placed on \[(\w+)\]\. Number of nodes: (\d+)/g)].map(
      ([, where]) => where,
    );
    // The decoder and the audio tower. Two Concat of the vision tower put shapes together, on the CPU.
    expect(whole).toEqual(['CUDAExecutionProvider', 'CUDAExecutionProvider']);
    const onCpu = [...said.matchAll(/\[CPUExecutionProvider\]\. Number of nodes: (\d+)/g)].map(([, nodes]) =>
      Number(nodes),
    );
    expect(onCpu).toEqual([2]);
    expect(said).not.toMatch(/Memcpy(From|To)Host/);
  });

  it('joins weights when it loads, not in every run', () => {
    const lines = run.trace.parts['vision'] ?? [];
    // The MLP of 140 is padded to 192.
    expect(those(lines, 'GEMM').filter((line) => /m=192 n=220 /.test(line))).not.toEqual([]);
    for (const part of ['vision', 'sound', 'recording'])
      expect(those(run.trace.parts[part] ?? [], 'KERNEL').filter((line) => /concat/i.test(line))).toEqual([]);
  });

  it('multiplies once for query, key and value, and splits with one kernel that copies no addresses', () => {
    const step = run.trace.parts['recording'] ?? [];
    const splits = those(step, 'KERNEL').filter((line) => /split/i.test(line));
    expect(splits).toHaveLength(run.trace.layers);
    for (const line of splits) expect(line).toContain('_Split3InnerKernel');
    // Joined, output, gate, up and down of each layer, and the head.
    expect(those(step, 'GEMM')).toHaveLength(5 * run.trace.layers + 1);
  });

  it('computes all attention with cuDNN', () => {
    expect(Object.keys(counts(run.said)).sort()).toEqual([
      'GroupQueryAttention CUDNN_FLASH_ATTENTION',
      'MultiHeadAttention CUDNN_FLASH_ATTENTION',
    ]);
  });

  it('launches one graph in a decode step, between one copy to the device and one back, and waits once', () => {
    const { parts, slots } = run.trace;
    const step = parts['step'] ?? [];
    const kinds = step.filter((line) => !line.startsWith('WAIT')).map((line) => line.replace(/ \d+.*/, ''));
    expect(kinds).toEqual(['COPY host-device', 'GRAPH launch', 'COPY device-host']);
    expect(step.at(-1)).toBe('WAIT stream');
    expect(those(step, 'WAIT')).toHaveLength(1);
    // Both copies are of pinned memory; each tensor starts at a multiple of 256 bytes.
    expect(those(step, 'COPY').filter((line) => !line.endsWith('pinned'))).toEqual([]);
    expect(bytesCopied(step, 'host-device')).toBeLessThanOrEqual(8 * 256 + 200 * slots);
    // A shortlist of 64 logits and ids, and two sums.
    expect(bytesCopied(step, 'device-host')).toBeLessThanOrEqual(4 * 256 + slots * (64 * 8 + 8));
  });

  it('puts both copies and the graph of a step into one stream, which it waits for', async () => {
    const { trace: found } = await trace('streams', { CUDA_STUB_STREAMS: '1' });
    const step = found.parts['step'] ?? [];
    expect(new Set(those(step, 'STREAM')).size).toBe(1);
    expect(those(step, 'STREAM')).not.toContain('STREAM (nil)');
    expect(step.map((line) => line.split(' ')[0])).toEqual(
      ['COPY', 'GRAPH', 'COPY', 'WAIT'].flatMap((call) => ['STREAM', call]),
    );
  });

  it('waits for the stream of a step that fails before anybody uses its memory again', async () => {
    const { allocate = [], prompt = [], chunk = [], 'media chunk': media = [] } = run.trace.parts;
    const before = [...run.loading, ...allocate, ...prompt, ...chunk, ...media];
    const number = those(before, 'COPY device-host').length + 1;
    const { trace: found } = await trace('lost copy', { CUDA_STUB_LOST_COPY: String(number) });
    expect([run.trace.failure, found.failure]).toEqual(['', expect.stringMatching(/out of memory/)]);
    expect(found.parts['step']).toEqual(run.trace.parts['step']);
  });

  it('records a step without a copy of host memory, an allocation or a wait', () => {
    const lines = run.trace.parts['recording'] ?? [];
    expect(those(lines, 'CUDNN')).toHaveLength(run.trace.layers);
    expect(lines.filter((line) => !/^(KERNEL|GEMM|CUDNN|FILL)/.test(line))).toEqual([]);
  });

  it('records a step of each size when it loads, and launches kernels one by one where a card cannot', async () => {
    expect(run.loading.filter((line) => line === 'GRAPH begin')).toHaveLength(3);
    const { trace: found, said, loading } = await trace('no capture', { CUDA_STUB_CAPTURE_ERROR: '900' });
    expect(found.message).toBeUndefined();
    expect(said.includes('Decode steps cannot be recorded as CUDA graphs')).toBe(true);
    expect(loading.filter((line) => line.startsWith('GRAPH'))).toEqual([]);
    const kernels = those(found.parts['step'] ?? [], 'KERNEL');
    expect(kernels).toEqual(those(run.trace.parts['recording'] ?? [], 'KERNEL'));
  });

  it('fetches all logits of one row alone, where a shortlist does not tell', () => {
    const { parts, vocabSize } = run.trace;
    const lines = parts['logits'] ?? [];
    expect(those(lines, 'COPY device-host')).toHaveLength(1);
    expect(bytesCopied(lines, 'device-host')).toBe(4 * vocabSize);
    expect(those(lines, 'KERNEL')).toEqual([]);
  });

  it('copies media embeddings with two bytes a number, to the device and back, and casts none', () => {
    const { parts, tokens, hiddenSize } = run.trace;
    const copied = (part: string, direction: string): number => bytesCopied(parts[part] ?? [], direction);
    // Each tensor starts at a multiple of 256 bytes.
    const most = (rows: number): number => 2 * rows * hiddenSize + 256;
    for (const part of ['vision', 'sound'] as const) {
      expect(copied(part, 'device-host')).toBeGreaterThanOrEqual(2 * tokens[part] * hiddenSize);
      expect(copied(part, 'device-host')).toBeLessThanOrEqual(most(tokens[part]));
    }
    const withMedia = copied('media chunk', 'host-device') - copied('chunk', 'host-device');
    expect(withMedia).toBeGreaterThanOrEqual(2 * tokens.media * hiddenSize);
    // Two indices of eight bytes a row.
    expect(withMedia).toBeLessThanOrEqual(most(tokens.media) + 16 * tokens.media + 256);
    const kernels = (part: string): string => those(parts[part] ?? [], 'KERNEL').join('\n');
    expect(kernels('sound')).not.toContain('OP_Cast<onnxruntime::BFloat16, float>');
    expect(kernels('media chunk')).toContain('_ScatterNDKernel');
    expect(kernels('media chunk')).not.toContain('OP_Cast<float, onnxruntime::BFloat16>');
  });

  it('never waits for the whole device, so that towers and decoder do not wait for each other', () => {
    const waits = Object.entries(run.trace.parts).map(([part, lines]) => [part, those(lines, 'WAIT device').length]);
    // The provider itself waits when it plans a convolution: twice for each new length of sound.
    expect(Object.fromEntries(waits)).toEqual({
      recording: 0,
      prompt: 0,
      chunk: 0,
      'media chunk': 0,
      step: 0,
      logits: 0,
      'prefix copy': 0,
      allocate: 0,
      free: 0,
      vision: 0,
      'first sound': 2,
      sound: 0,
    });
  });

  it('copies a prefix of all layers with one wait', () => {
    const lines = run.trace.parts['prefix copy'] ?? [];
    expect(those(lines, 'COPY device-device').length).toBeGreaterThanOrEqual(2 * run.trace.layers);
    expect(those(lines, 'COPY')).toEqual(those(lines, 'COPY device-device'));
    expect(those(lines, 'WAIT')).toEqual(['WAIT stream']);
  });

  it('runs the same steps over a KV cache in pages, which come and go with a page for each head of each layer', async () => {
    const { trace: paged } = await trace('paged', {}, 'bf16', { cacheBytes: String(2 ** 29) });
    expect(paged.message).toBeUndefined();
    const { parts, layers, kvHeads } = paged;
    const same = ['recording', 'prompt', 'chunk', 'step', 'prefix copy'];
    for (const part of same) expect([part, parts[part]]).toEqual([part, run.trace.parts[part]]);
    const pages = 2 * layers * kvHeads;
    expect(those(parts['allocate'] ?? [], 'PAGE map')).toHaveLength(pages);
    expect(those(parts['free'] ?? [], 'PAGE map')).toHaveLength(pages);
    expect(those(parts['allocate'] ?? [], 'WAIT')).toEqual(['WAIT stream']);
    expect([run.trace.parts['allocate'], run.trace.parts['free']]).toEqual([[], []]);
  });

  it.each(['', String(2 ** 29)])('works on the second card alone, with --kv-cache-bytes "%s"', async (cacheBytes) => {
    const cards = { CUDA_STUB_DEVICES: '2' };
    const { trace: found, loading } = await trace(`card ${cacheBytes}`, cards, 'bf16', { cacheBytes, card: 1 });
    expect(found.message).toBeUndefined();
    expect(those(loading, 'CONTEXT')).toEqual(['CONTEXT on 1']);
    const all = [...loading, ...Object.values(found.parts).flat()].filter((line) => line !== '');
    expect(all.filter((line) => !line.endsWith(' on 1'))).toEqual([]);
    const kernels = (lines: readonly string[] = []) => those(lines, 'KERNEL');
    const own = kernels(run.trace.parts['recording']).map((line) => `${line} on 1`);
    expect(kernels(found.parts['recording'])).toEqual(own);
  });

  describe('with seven query heads a KV head', () => {
    const sevenHeads = async (name: string, attention: AttentionOptions, environment = {}) => {
      const checkpoint = scratch('seven-heads');
      const sizes = { hidden: 896, heads: 7, kvHeads: 1, headDim: 128, mropeSection: [16, 24, 24] } as const;
      writeModel(checkpoint, { ...SHAPES.nano, ...sizes, layers: 2 }, 'bf16', SHAPES.nano.vocab - 100);
      const { trace: found, said } = await trace(name, environment, 'bf16', { checkpoint, attention });
      expect(found.message).toBeUndefined();
      expect(said).not.toMatch(/Memcpy(From|To)Host/);
      const { step = [], recording = [], chunk = [] } = found.parts;
      expect(those(step, 'GRAPH')).toEqual(['GRAPH launch']);
      return { recording, chunk, said };
    };
    const matching = (lines: readonly string[], pattern: RegExp) => lines.filter((line) => pattern.test(line));
    const ATTENTION = /^CUDNN|kernel_mha|flash/;
    const XQA = /H128::grp8_bf16::kernel_mha/;
    const LAUNCH = /^(KERNEL|GEMM|CUDNN|FILL)/;

    it('decodes with cuDNN, and with XQA where they are made eight', async () => {
      const own = await sevenHeads('own heads', {});
      const padded = await sevenHeads('padded heads', { padHeads: true });
      expect(matching(own.recording, ATTENTION)).toEqual(['CUDNN', 'CUDNN']);
      expect(matching(padded.recording, XQA)).toHaveLength(2);
      expect(matching(padded.recording, ATTENTION)).toHaveLength(2);
      expect(matching(padded.chunk, ATTENTION)).toEqual(matching(own.chunk, ATTENTION));
    });

    it('launches three kernels fewer a layer in a step where attention rotates', async () => {
      const apart = await sevenHeads('heads apart', { padHeads: true });
      const packed = await sevenHeads('packed heads', { padHeads: true, packHeads: true });
      for (const part of ['recording', 'chunk'] as const) {
        expect(matching(packed[part], /_Split|MRotaryEmbedding/)).toEqual([]);
        expect(matching(packed[part], /UnpackRoPEAppend/)).toHaveLength(2);
      }
      expect(matching(packed.recording, XQA)).toHaveLength(2);
      expect(packed.chunk.filter((line) => line === 'CUDNN')).toHaveLength(2);
      const launches = ({ recording }: typeof packed) => matching(recording, LAUNCH).length;
      // Splitting and two rotations of each of two layers; once a step, tables that begin with the step's tokens.
      expect(launches(apart) - launches(packed)).toBe(2 * 3 - 9);
    });

    it('has attention rotate by positions where cuDNN is switched off', async () => {
      const off = { ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0', ORT_DISABLE_FLASH_DECODE: '1' };
      const { recording, chunk } = await sevenHeads('packed flash', { packHeads: true }, off);
      for (const part of [recording, chunk]) expect(matching(part, /UnpackRoPEAppend/)).toHaveLength(2);
    });
  });

  it('leaves cuDNN out of attention where it is switched off', async () => {
    const { said } = await trace('flash', { ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0' });
    const kernels = Object.keys(counts(said));
    expect(kernels.filter((kernel) => kernel.startsWith('Group'))).toEqual(['GroupQueryAttention FLASH_ATTENTION']);
    expect(kernels.filter((kernel) => kernel.includes('CUDNN'))).toEqual([]);
  });

  it.each(['int8', 'int4'] as const)(
    'places all of %s on CUDA, and multiplies a step of every whole shape without writing weights out',
    async (precision) => {
      const { trace: found, said } = await trace(precision, {}, precision);
      expect(found.message).toBeUndefined();
      const whole = [...said.matchAll(/All nodes placed on \[(\w+)\]/g)].map(([, where]) => where);
      expect(whole).toEqual(['CUDAExecutionProvider', 'CUDAExecutionProvider']);
      expect(said).not.toMatch(/Memcpy(From|To)Host/);
      // q, k and v as one, and o, of each layer, and the head. The MLP of tiny-b is 248 wide: no multiple of the block.
      for (const part of ['recording', 'chunk']) {
        const products = those(found.parts[part] ?? [], 'KERNEL').filter((line) => line.includes('GemmFpAIntB'));
        expect([part, products.length]).toEqual([part, 2 * found.layers + 1]);
      }
      const step = found.parts['recording'] ?? [];
      expect(step.filter((line) => line.includes('OP_Add<onnxruntime::BFloat16'))).toEqual([]);
      expect(those(found.parts['step'] ?? [], 'GRAPH')).toEqual(['GRAPH launch']);
    },
  );

  it('takes the default kernels for quantised weights where the environment says so', async () => {
    const { trace: found } = await trace('default int4', { ORT_FPA_INTB_GEMM: '0' }, 'int4');
    const kernels = (part: string): string => (found.parts[part] ?? []).join('\n');
    expect(kernels('recording')).toMatch(/MatMulFloat4BatchedKernel<__nv_bfloat16, 64/);
    expect(kernels('chunk')).toContain('Dequantize4BitsKernel');
    expect(kernels('recording') + kernels('chunk')).not.toContain('GemmFpAIntB');
  });

  it('says that there is no such card', async () => {
    const { trace: found } = await trace('third card', { CUDA_STUB_DEVICES: '2' }, 'bf16', { card: 2 });
    const message =
      'CUDA device 2 cannot be used: there is no such device; CUDA shows 2, counted from 0. Run `avocado doctor` to see what is missing.';
    expect(found).toMatchObject({ code: 'device_unavailable', message });
  });

  const leftOut: [string, () => Record<string, string>, RegExp][] = [
    ['cuDNN', () => ({ LD_LIBRARY_PATH: (prepared as Prepared).stub.cuda }), /libcudnn\.so\.9.*nvidia-cudnn-cu13/],
    ['CUDA', () => ({ LD_LIBRARY_PATH: '' }), /libcublas\.so\.13.*CUDA 13/],
  ];
  it.each([
    ...(gpus.length > 0 ? [] : leftOut),
    ['room', () => ({ CUDA_STUB_MIB: '1' }), /--slots/],
    ['a working device', () => ({ CUDA_STUB_WAIT_ERROR: '700' }), /illegal memory access/],
  ] as typeof leftOut)(
    'without %s gives device_unavailable and says what to do',
    async (what, environment, message) => {
      const { trace: found } = await trace(`without ${what}`, environment());
      expect(found).toMatchObject({ code: 'device_unavailable', message: expect.stringMatching(message) as string });
    },
  );
});
