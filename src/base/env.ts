// The only file that reads or sets process.env. Every variable this program knows is named here or in the settings
// table.
import process from 'node:process';

/** Variables that are not settings: paths of other programs and libraries, the cache of the user, and secrets. */
type EnvironmentVariable =
  | 'FFMPEG_PATH'
  | 'FFPROBE_PATH'
  | 'AVOCADO_ADDRESS_FILE'
  | 'AVOCADO_ONNXRUNTIME'
  | 'AVOCADO_CACHE'
  | 'XDG_CACHE_HOME'
  | 'AVOCADO_JUDGE_API_KEY'
  | 'AVOCADO_MERGE_API_KEY'
  | 'AVOCADO_SERVER_API_KEY'
  | 'AVOCADO_TEACHER_API_KEY'
  | 'AVOCADO_TRANSCRIBER_API_KEY';

/** Read at each call, since a test or an embedding program may set it later. @returns undefined when it is not set */
export function readVariable(name: EnvironmentVariable): string | undefined {
  return process.env[name];
}

/** As `readVariable`, for variables whose empty value means the same as none. */
export function nonEmptyVariable(name: EnvironmentVariable): string | undefined {
  const value = process.env[name];
  return value === '' ? undefined : value;
}

/** Folders where the dynamic loader of Linux looks first for libraries. */
export function libraryPath(): string[] {
  return (process.env['LD_LIBRARY_PATH'] ?? '').split(':').filter((folder) => folder !== '');
}

/** All AVOCADO_* variables: settings of the command line and of the server, and the keys of its clients. */
export function avocadoVariables(): Readonly<Record<string, string>> {
  const found = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[0].startsWith('AVOCADO_') && entry[1] !== undefined,
  );
  return Object.fromEntries(found);
}

/** Variables of OpenTelemetry's specification; an empty one counts as not set. */
export function openTelemetryVariable(name: `OTEL_${string}`): string | undefined {
  const value = process.env[name];
  return value === '' ? undefined : value;
}

/** Whether the environment asks for traces: it names the receiver or the exporter, and does not switch it off. */
export function wantsTraces(): boolean {
  const exporter = openTelemetryVariable('OTEL_TRACES_EXPORTER');
  if (openTelemetryVariable('OTEL_SDK_DISABLED')?.toLowerCase() === 'true' || exporter === 'none') return false;
  const receiver =
    openTelemetryVariable('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? openTelemetryVariable('OTEL_EXPORTER_OTLP_ENDPOINT');
  return receiver !== undefined || exporter === 'otlp';
}

/**
 * The Linux library of onnxruntime sends usage data to its makers and leaves log files in the temporary directory,
 * unless this variable is set before the library is loaded. Set it to 0 to allow that.
 */
export function declineOnnxruntimeTelemetry(): void {
  process.env['ORT_DISABLE_TELEMETRY'] ??= '1';
}

/**
 * onnxruntime's CUDA provider has two sets of kernels for quantised weights with 16-bit activations. The default ones
 * are made for few rows (at most 16 with 4 bits, fewer than 8 with 8 bits); for more they write out the whole matrix in
 * 16 bits for every product. The first variable chooses the others, which read quantised weights for any number of
 * rows; 0 chooses the default ones. A session measures those for each shape: when it is created for the numbers of rows
 * in the second variable, those of decode steps, and for others at their first use. By default it measures up to 2,048
 * rows of every matrix, the head included, and takes many seconds to create. Both are read when a session is created.
 */
export function preferQuantisedProducts(): void {
  process.env['ORT_FPA_INTB_GEMM'] ??= '1';
  process.env['ORT_FPA_INTB_PROFILE_M'] ??= '1,2,4,8,16,32';
}
