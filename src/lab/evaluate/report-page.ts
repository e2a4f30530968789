// The report as one page that needs nothing else: each clip with its caption and what the judge decided.
import { relative, sep } from 'node:path';
import type { Benchmark, Judged, Point } from './benchmark.ts';
import { countingOf } from './evaluate.ts';
import type { Report } from './report.ts';

const STYLE = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .8rem;border-bottom:1px solid #8886;text-align:left}
details{border-top:1px solid #8886;padding:.4rem 0}summary{cursor:pointer}video{max-width:24rem;width:100%}
pre{white-space:pre-wrap;font:inherit}ul{padding:0;list-style:none}
.right::before{content:"✓ ";color:#2a8a3a}.wrong::before{content:"✗ ";color:#c0392b}
.partly::before{content:"~ ";color:#b7791f}.absent::before{content:"○ ";color:#888}small{opacity:.7}`;

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

function pointItem({ text, mark, note }: Point): string {
  const small = note === undefined ? '' : ` <small>${escapeHtml(note)}</small>`;
  return `<li class="${mark}">${escapeHtml(text)}${small}</li>`;
}

/** A path as the page's own address of it. */
export function linkTo(path: string, directory: string): string {
  return relative(directory, path).split(sep).map(encodeURIComponent).join('/');
}

const FAILURES = {
  no_caption: 'no caption',
  unreadable: 'the judge was not readable',
  not_asked: 'not judged yet',
} as const;

function clipPart(benchmark: Benchmark, one: Judged, video: string | undefined): string {
  const { item, caption = '', verdict, failure } = one;
  const points = verdict === undefined ? [] : benchmark.points(item, verdict);
  const right = points.filter(({ mark }) => mark === 'right').length;
  const state = failure === undefined ? `${right} of ${points.length} points` : FAILURES[failure];
  const player = video === undefined ? '' : `<video controls preload="none" src="${escapeHtml(video)}"></video>`;
  return `<details><summary>${escapeHtml(item.id)} <small>${state}</small></summary>
${player}<pre>${escapeHtml(caption)}</pre><ul>${points.map(pointItem).join('')}</ul></details>`;
}

/** @param videoOf the address of a clip's file as the page may use it; undefined where it is not known */
export function* reportPage(
  report: Report,
  benchmark: Benchmark,
  judged: readonly Judged[],
  videoOf: (one: Judged) => string | undefined,
): Generator<string> {
  const table = report.evaluation?.tables[countingOf(report.preset)];
  const cells = benchmark.columns.map(({ name, title }) => {
    const [score, interval] = [table?.scores[name], table?.intervals[name]];
    const range = interval == null ? '' : ` <small>${interval.low.toFixed(1)} to ${interval.high.toFixed(1)}</small>`;
    return `<tr><th>${escapeHtml(title)}</th><td>${score == null ? '-' : score.toFixed(2)}${range}</td></tr>`;
  });
  yield `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; media-src * file: blob:">
<title>${escapeHtml(report.title)}</title><style>${STYLE}</style>
<h1>${escapeHtml(report.title)}</h1>
<p>Captions of ${escapeHtml(report.captions.model)}; judge ${escapeHtml(report.judge?.model ?? 'none')}; preset ${report.preset}.</p>
<table>${cells.join('')}</table>
`;
  for (const one of judged) yield `${clipPart(benchmark, one, videoOf(one))}\n`;
  yield '</html>\n';
}
