// A checkpoint's architecture in our own field names. config.ts reads it from config.json.

export interface TextConfig {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** pairs of channels rotated by the t, h and w position; the sum is headDim / 2 */
  readonly mropeSection: readonly [number, number, number];
}

export interface VisionConfig {
  readonly depth: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly headDim: number;
  readonly channels: number;
  readonly patchSize: number;
  readonly temporalPatchSize: number;
  readonly mergeSize: number;
  /** pixels; one window is windowSize / patchSize / mergeSize merged groups wide and high */
  readonly windowSize: number;
  readonly fullAttentionBlocks: readonly number[];
}

export interface AudioConfig {
  readonly melBins: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  readonly ffnSize: number;
  /** mel frames per attention chunk = 2 * n_window */
  readonly chunkFrames: number;
}

export interface TokenIds {
  readonly audio: number;
  readonly audioStart: number;
  readonly audioEnd: number;
  readonly image: number;
  readonly video: number;
  readonly visionStart: number;
  readonly visionEnd: number;
  readonly eos: number;
  readonly pad: number;
}

export interface ModelConfig {
  /** real path of the checkpoint directory */
  readonly directory: string;
  readonly text: TextConfig;
  readonly vision: VisionConfig;
  readonly audio: AudioConfig;
  readonly tokens: TokenIds;
  readonly positionIdPerSeconds: number;
  readonly secondsPerChunk: number;
}
