import { DTYPE_BYTES } from './runtime.ts';
import type { Tensor } from './runtime.ts';

type Tensors = Readonly<Record<string, Tensor>>;

interface Graph {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * Feeds and fetches in the order of the graph's inputs and outputs; an output nobody fetches is undefined.
 * Callers build their tensors from the same graph, so a mismatch is a bug of ours, not the user's.
 */
export function bindTensors(
  graph: Graph,
  feeds: Tensors,
  fetches: Tensors,
): { inputs: Tensor[]; outputs: (Tensor | undefined)[] } {
  const inputs = graph.inputs.map((name) => {
    const tensor = feeds[name];
    if (tensor === undefined) throw new Error(`Input "${name}" is not fed. This is a bug.`);
    checkSize(name, tensor);
    return tensor;
  });
  const outputs = graph.outputs.map((name) => {
    const tensor = fetches[name];
    if (tensor !== undefined) checkSize(name, tensor);
    return tensor;
  });
  refuseUnknown('feed', feeds, graph.inputs, inputs.length);
  refuseUnknown('fetch', fetches, graph.outputs, outputs.filter((tensor) => tensor !== undefined).length);
  return { inputs, outputs };
}

/** Product of the dims. */
function elementsOf(tensor: Tensor): number {
  let elements = 1;
  for (const size of tensor.dims) elements *= size;
  return elements;
}

function refuseUnknown(what: string, tensors: Tensors, known: readonly string[], used: number): void {
  const names = Object.keys(tensors);
  if (names.length === used) return;
  const unknown = names.find((name) => !known.includes(name)) ?? '';
  throw new Error(`The graph has no tensor "${unknown}" to ${what}; it has ${known.join(', ')}. This is a bug.`);
}

function checkSize(name: string, tensor: Tensor): void {
  const elements = elementsOf(tensor);
  const fits =
    tensor.kind === 'host'
      ? tensor.data.byteLength === elements * DTYPE_BYTES[tensor.dtype]
      : Number.isInteger(tensor.offset) && tensor.offset >= 0 && tensor.offset + elements <= tensor.slab.elements;
  if (!fits) throw new Error(`Tensor "${name}" of [${tensor.dims.join(', ')}] does not fit its memory. This is a bug.`);
}
