// Who may import whom; `npm run lint` checks it. The rooms are the folders of src/. Type imports count as imports,
// except where this file says "types". Tests may import everything.

/** Each room, and the rooms it may import beside its own files and those of BELOW_ALL. */
const MAY_IMPORT = {
  base: [],
  settings: [],
  chat: [],
  storage: [],
  media: [],
  features: ['media'],
  prompt: [],
  engine: [],
  output: [],
  encoder: ['features', 'media', 'prompt'],
  segments: ['media'],
  'model/checkpoint': [],
  'model/graphs': ['model/checkpoint'],
  'model/runtime': ['model/checkpoint'],
  'model/export': ['model/checkpoint', 'model/graphs', 'model/runtime'],
  'model/execution': ['model/checkpoint', 'model/graphs', 'model/runtime', 'model/export'],
  captioner: ['engine', 'prompt', 'output', 'encoder', 'features', 'media', 'model', 'segments', 'chat'],
  'engine-process': ['captioner', 'output'],
  intake: ['storage'],
  admission: ['engine-process', 'captioner', 'output', 'intake', 'storage'],
  batch: ['captioner', 'output', 'intake', 'media'],
  jobs: ['batch', 'output'],
  remote: ['batch', 'captioner', 'media', 'output'],
  openai: ['admission', 'captioner', 'output', 'intake'],
  server: [
    'openai',
    'jobs',
    'batch',
    'admission',
    'intake',
    'storage',
    'engine-process',
    'captioner',
    'output',
    'model/checkpoint',
  ],
  lab: ['server', 'batch', 'captioner', 'output', 'media', 'chat'],
  cli: [
    'lab',
    'batch',
    'jobs',
    'remote',
    'server',
    'admission',
    'intake',
    'storage',
    'engine-process',
    'captioner',
    'output',
    'prompt',
    'media',
    'model',
    'chat',
  ],
};

/** Rooms of which a room may import types, and only types. */
const MAY_IMPORT_TYPES = {
  features: ['model/checkpoint'],
  prompt: ['model/checkpoint'],
  engine: ['model/execution'],
  output: ['engine', 'prompt', 'model/checkpoint'],
  encoder: ['output', 'model/checkpoint', 'model/execution'],
};

const BELOW_ALL = { base: [], settings: ['base'] };

/** Packages and Node modules that only one place may import; `types` lets the other files import their types. */
const ONE_DOOR = [
  { of: 'onnxruntime-node', only: 'model/runtime/' },
  { of: 'worker_threads', only: '(model/runtime|jobs/store)/|features/(hold|early-steps)[.]ts' },
  { of: 'pg', only: 'jobs/store/' },
  { of: '@electric-sql/pglite', only: 'jobs/store/' },
  { of: 'proper-lockfile', only: 'jobs/store/' },
  { of: 'child_process', only: '(media|engine-process|model/runtime|setup)/' },
  {
    of: 'module',
    only: '(base/native|model/runtime/[a-z-]+|settings/read-settings)[.]ts|setup/',
    what: 'createRequire, which loads native code, and the YAML parser when it is needed',
  },
  { of: 'fluent-ffmpeg', only: 'media/' },
  { of: 'sharp', only: 'media/' },
  { of: '@huggingface/tokenizers', only: 'prompt/' },
  { of: '@huggingface/jinja', only: 'prompt/' },
  { of: 'piscina', only: '(features|model/export)/' },
  { of: 'undici', only: '(intake/|chat/patient-fetch[.]ts)' },
  { of: 'ipaddr.js', only: 'intake/' },
  { of: 'fastify', only: '(server/app|lab/rewards/reward-service)[.]ts', types: 'server/' },
  { of: '@fastify/[a-z-]+', only: 'server/' },
  { of: 'prom-client', only: '(server/observe/|lab/rewards/reward-service[.]ts)' },
  { of: '@opentelemetry/[a-z-]+', only: 'server/observe/tracing[.]ts' },
  { of: 'close-with-grace', only: 'server/' },
  { of: '(commander|cli-progress)', only: 'cli/' },
  { of: 'yaml', only: 'settings/' },
  { of: 'typebox', only: 'base/schema[.]ts' },
];

/** Files that Node starts or loads by their path; everything else must be imported by one of them. */
const ENTRY_POINTS = '^src/(cli/main|index|.*-(entry|worker|task))[.]ts$|^src/setup/';

const folders = (rooms) => rooms.map((room) => `^src/${room}/`);

function directionRules([room, rooms]) {
  const below = BELOW_ALL[room] ?? Object.keys(BELOW_ALL);
  const values = [room, ...rooms, ...below];
  const rule = (name, to) => ({
    name,
    severity: 'error',
    from: { path: `^src/${room}/` },
    to: { path: '^src/', ...to },
  });
  return [
    rule(`imports of ${room}`, { pathNot: folders(values), dependencyTypesNot: ['type-only'] }),
    rule(`type imports of ${room}`, {
      pathNot: folders([...values, ...(MAY_IMPORT_TYPES[room] ?? [])]),
      dependencyTypes: ['type-only'],
    }),
  ];
}

function doorRules({ of, only, types }) {
  const path = `(^|node_modules/(@types/)?)${of}(/|$)`;
  const rule = (name, door, to) => ({
    name,
    severity: 'error',
    from: { path: '^src/', pathNot: `^src/(${door})` },
    to: { path, ...to },
  });
  if (types === undefined) return [rule(`one door for ${of}`, only, {})];
  return [
    rule(`one door for ${of}`, only, { dependencyTypesNot: ['type-only'] }),
    rule(`one door for the types of ${of}`, types, { dependencyTypes: ['type-only'] }),
  ];
}

export default {
  forbidden: [
    { name: 'no circles', severity: 'error', from: {}, to: { circular: true } },
    ...Object.entries(MAY_IMPORT).flatMap(directionRules),
    ...ONE_DOOR.flatMap(doorRules),
    {
      name: 'a folder without a line in this file',
      severity: 'error',
      from: { path: '^src/', pathNot: [...folders([...Object.keys(MAY_IMPORT), 'setup']), '^src/index[.]ts$'] },
      to: {},
    },
    { name: 'nothing of the entry for other packages', severity: 'error', from: {}, to: { path: '^src/index[.]ts$' } },
    { name: 'nothing of the tests', severity: 'error', from: { path: '^src/' }, to: { path: '^(test|dist)/' } },
    {
      name: 'a dependency that package.json does not name',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'a file that nothing uses',
      severity: 'error',
      from: { path: ENTRY_POINTS },
      to: { path: '^src/.*[.]ts$', pathNot: ENTRY_POINTS, reachable: false },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/page/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
    skipAnalysisNotInRules: true,
  },
};
