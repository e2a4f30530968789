import { defaultText, SETTING_NAMES, settingOf, variableName } from '../../src/settings/schema.ts';
import { SETTING_GROUPS, type Setting } from '../../src/settings/setting.ts';

function row(setting: Setting): string {
  const value = setting.metavar === undefined ? '' : ` <${setting.metavar}>`;
  const cells = [
    `\`--${setting.flag}${value}\``,
    `\`${variableName(setting)}\``,
    defaultText(setting) ?? (setting.type.json === 'boolean' ? 'off' : 'none'),
    setting.help,
  ];
  return `| ${cells.join(' | ')} |`;
}

function tables(): string {
  return Object.entries(SETTING_GROUPS)
    .map(([group, title]) => {
      const rows = SETTING_NAMES.map(settingOf).filter((setting) => setting.group === group);
      const head = '| flag | environment variable | default | meaning |\n|---|---|---|---|';
      return `## ${title}\n\n${head}\n${rows.map(row).join('\n')}\n`;
    })
    .join('\n');
}

/** The whole of settings.md. */
export function settingsPage(): string {
  return `# Settings

<!-- Generated from src/settings by test/docs/make-pages.ts: do not edit by hand. -->

\`avocado serve\` takes all settings below; \`avocado caption\`, \`avocado inspect\` and \`avocado batch\` take those of the
first table, \`caption\` and \`batch\` those of [merging](#merging-segments), and \`avocado batch\` also \`--slots\` and
\`--decode-timeout\`. A setting can be given in three ways. A flag
beats a variable, a variable beats the config file, and the file beats the default:

\`\`\`sh
npx avocado serve --log-level info
AVOCADO_LOG_LEVEL=info npx avocado serve
npx avocado serve --config settings.json     # {"log_level": "info", "slots": 8, "media_root": ["films=/srv/films"]}
npx avocado serve --config settings.yaml     # the same in YAML, one setting a line: slots: 8
\`\`\`

* In the file, a setting has the name of its flag with \`_\` for \`-\`. The value is a number, text, \`true\` or
  \`false\`; a repeatable flag is a list of texts. Relative paths start at the working directory.
* In the environment, entries of a list stand between commas, and a switch is \`true\` or \`false\`. An empty variable
  counts as not set.
* A switch that a variable or the file turns on is turned off by its flag with \`--no-\`, such as \`--no-spinning\`.
* All mistakes are reported together, before a model is loaded. A name in the file that is no setting is an error; a
  variable that is close to the name of a setting gives a warning.

${tables()}
## Other variables

| variable | meaning |
|---|---|
| \`AVOCADO_API_KEYS\` | keys of \`avocado serve\`, as in the file of \`--api-keys\`, also between commas |
| \`AVOCADO_JUDGE_API_KEY\` | key of the judge that \`avocado reward\`, \`evaluate\`, \`curate\` and \`--verify\` ask with \`--judge URL\` |
| \`AVOCADO_SERVER_API_KEY\` | key of the server that makes captions for \`avocado batch\` and \`avocado evaluate\` with \`--server URL\` |
| \`AVOCADO_MERGE_API_KEY\` | key of the server that \`--merge-url\` names |
| \`AVOCADO_TEACHER_API_KEY\` | key of the teacher that \`avocado curate --teacher URL\` asks |
| \`AVOCADO_TRANSCRIBER_API_KEY\` | key of the server that transcribes sound for \`--verify --transcriber URL\` |
| \`AVOCADO_ADDRESS_FILE\` | a file that is told where \`avocado serve\` listens; the image's health check reads it |
| \`AVOCADO_ONNXRUNTIME\` | another libonnxruntime, such as a CUDA build |
| \`FFMPEG_PATH\`, \`FFPROBE_PATH\` | ffmpeg 5.1 or newer in another place than on the PATH |
| \`OTEL_EXPORTER_OTLP_ENDPOINT\` and others of OpenTelemetry | where traces are sent ([operations.md](operations.md#traces)) |
| \`ORT_DISABLE_TELEMETRY\` | set to 1 by this program, because ONNX Runtime's Linux library would report usage otherwise |
`;
}
