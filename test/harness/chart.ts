/* Charts of measurements as SVG, light or dark by the reader's system setting. */
import type { Point } from './slope.ts';

export interface Series {
  readonly name: string;
  /** In the order of `x`. */
  readonly points: readonly Point[];
  /** Default `line`. */
  readonly as?: 'line' | 'dots' | 'dashes';
  /** Index of its colour, from 0. Default: its position in the panel. */
  readonly colour?: number;
}

/** A horizontal line with a name, such as a limit. */
export interface Mark {
  readonly y: number;
  readonly name: string;
}

/** One diagram, with a vertical scale of its own. */
export interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
  readonly marks?: readonly Mark[];
  /** Right of the title. */
  readonly note?: string;
  /** Whether the vertical scale begins at 0. Default true. */
  readonly fromZero?: boolean;
}

/**
 * A range of the horizontal scale, in all panels. Its name is below it if there is enough space, and in its tooltip.
 */
export interface Band {
  readonly from: number;
  readonly to: number;
  readonly name: string;
}

export interface Chart {
  readonly title: string;
  /** Origin of the chart, as a note in the file. */
  readonly comment: string;
  /** Name of the horizontal scale, with its unit. */
  readonly xName: string;
  readonly panels: readonly Panel[];
  /** In the order of `from`. */
  readonly bands?: readonly Band[];
}

const WIDTH = 860;
const LEFT = 64;
const RIGHT = 16;
const TOP = 40;
const PANEL = 150;
const BETWEEN = 44;
const BAND_NAMES = 120;
/** Minimum distance between two names: closer ones would overlap. */
const BETWEEN_NAMES = 12;
const COLOURS = 5;
const TICKS = 4;

const STYLE = `
    svg { --back: #ffffff; --text: #1f2328; --dim: #59636e; --grid: #d8dee4; --band: #eef1f4; --c0: #0550ae; --c1: #cf222e; --c2: #116329; --c3: #8250df; --c4: #9a6700 }
    @media (prefers-color-scheme: dark) {
      svg { --back: #161b22; --text: #e6edf3; --dim: #9198a1; --grid: #30363d; --band: #21262d; --c0: #79c0ff; --c1: #ff7b72; --c2: #7ee787; --c3: #d2a8ff; --c4: #e3b341 }
    }
    text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: var(--text) }
    .title { font-size: 15px; font-weight: bold } .panel { font-weight: bold } .dim { fill: var(--dim); font-size: 11px }
    .grid { stroke: var(--grid) } .mark { stroke: var(--dim); stroke-dasharray: 2 3 } .series { fill: none; stroke-width: 1.5 }`;

interface Scale {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly number[];
}

/** @returns the SVG's text */
export function draw({ title, comment, xName, panels, bands = [] }: Chart): string {
  const xs = panels.flatMap(({ series }) => series.flatMap(({ points }) => points.map(({ x }) => x)));
  const x = scaleOf([...xs, ...bands.flatMap(({ from, to }) => [from, to])], false);
  const across = (value: number) => LEFT + ((value - x.min) / (x.max - x.min)) * (WIDTH - LEFT - RIGHT);
  const bottom = TOP + panels.length * (PANEL + BETWEEN);
  const height = bottom + 16 + (bands.length > 0 ? BAND_NAMES : 0);
  const drawn = panels.map((panel, index) => {
    const top = TOP + 24 + index * (PANEL + BETWEEN);
    return drawPanel(panel, { top, x, across, bands, isLast: index === panels.length - 1 });
  });
  let lastNameAt = Number.NEGATIVE_INFINITY;
  const names = bands.flatMap(({ from, to, name }) => {
    const middle = (across(from) + across(to)) / 2;
    if (middle - lastNameAt < BETWEEN_NAMES) return [];
    lastNameAt = middle;
    const at = `${number(middle + 4)} ${bottom + 28}`;
    return `<text transform="translate(${at}) rotate(-60)" class="dim" text-anchor="end">${escaped(name)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title">
  <!-- ${escaped(comment).replaceAll('--', '—')} -->
  <title id="title">${escaped(title)}</title>
  <style>${STYLE}
  </style>
  <rect width="${WIDTH}" height="${height}" fill="var(--back)"/>
  <text x="${LEFT}" y="24" class="title">${escaped(title)}</text>
${drawn.join('\n')}
  <text x="${WIDTH - RIGHT}" y="${bottom + 8}" class="dim" text-anchor="end">${escaped(xName)}</text>
${names.join('\n')}
</svg>
`;
}

interface Place {
  readonly top: number;
  readonly x: Scale;
  readonly across: (x: number) => number;
  readonly bands: readonly Band[];
  readonly isLast: boolean;
}

function drawPanel(panel: Panel, { top, x, across, bands, isLast }: Place): string {
  const { title, series, marks = [], note = '', fromZero = true } = panel;
  const all = [...series.flatMap(({ points }) => points.map(({ y }) => y)), ...marks.map(({ y }) => y)];
  const y = scaleOf(all, fromZero);
  const down = (value: number) => top + PANEL - ((value - y.min) / (y.max - y.min)) * PANEL;
  const right = WIDTH - RIGHT;
  const grey = bands.map(({ from, to, name }) => {
    const [left, width] = [across(from), Math.max(1, across(to) - across(from))];
    const at = `x="${number(left)}" y="${top}" width="${number(width)}" height="${PANEL}"`;
    return `<rect ${at} fill="var(--band)"><title>${escaped(name)}</title></rect>`;
  });
  const rows = y.ticks.map((tick) => {
    const at = number(down(tick));
    const line = `<path d="M${LEFT} ${at}H${right}" class="grid"/>`;
    return `${line}<text x="${LEFT - 6}" y="${number(down(tick) + 4)}" class="dim" text-anchor="end">${tickText(tick)}</text>`;
  });
  const columns = x.ticks.map((tick) => {
    const at = number(across(tick));
    const line = `<path d="M${at} ${top + PANEL}v4" class="grid"/>`;
    const text = `<text x="${at}" y="${top + PANEL + 16}" class="dim" text-anchor="middle">${tickText(tick)}</text>`;
    return isLast ? line + text : line;
  });
  const limits = marks.map(({ y: value, name }) => {
    const at = down(value);
    const text = `<text x="${right - 4}" y="${number(at - 4)}" class="dim" text-anchor="end">${escaped(name)}</text>`;
    return `<path d="M${LEFT} ${number(at)}H${right}" class="mark"/>${text}`;
  });
  const lines = series.map((one, index) => drawSeries(one, one.colour ?? index, across, down));
  let legendAt = LEFT + 8 * title.length + 16;
  const legend = series.map(({ name, colour }, index) => {
    if (name === '') return '';
    const text = `<text x="${legendAt}" y="${top - 8}" class="dim" style="fill: var(--c${(colour ?? index) % COLOURS})">${escaped(name)}</text>`;
    legendAt += 6.5 * name.length + 16;
    return text;
  });
  return [
    '  <g>',
    ...grey,
    ...rows,
    ...columns,
    ...lines,
    ...limits,
    `<text x="${LEFT}" y="${top - 8}" class="panel">${escaped(title)}</text>`,
    ...legend,
    `<text x="${right}" y="${top - 8}" class="dim" text-anchor="end">${escaped(note)}</text>`,
    '</g>',
  ].join('\n  ');
}

function drawSeries({ points, as = 'line' }: Series, colour: number, across: Axis, down: Axis): string {
  const at = points.map(({ x, y }) => `${number(across(x))} ${number(down(y))}`);
  const stroke = `stroke="var(--c${colour % COLOURS})"`;
  if (as === 'dots') {
    // A line of no length with a round end is a dot.
    return `<path d="${at.map((point) => `M${point}h0`).join('')}" class="series" ${stroke} style="stroke-width: 5; stroke-linecap: round"/>`;
  }
  const dashes = as === 'dashes' ? ' stroke-dasharray="6 4"' : '';
  return at.length === 0 ? '' : `<path d="M${at.join('L')}" class="series" ${stroke}${dashes}/>`;
}

type Axis = (value: number) => number;

/** Round numbers around the values. Equal values get a margin. */
function scaleOf(values: readonly number[], fromZero: boolean): Scale {
  let min = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  let max = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (values.length === 0) [min, max] = [0, 1];
  if (fromZero) min = Math.min(0, min);
  if (min === max) max = min + Math.max(1, Math.abs(min) / 10);
  const raw = (max - min) / TICKS;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 2.5, 5].find((part) => part * power >= raw) ?? 10) * power;
  const from = fromZero && min === 0 ? 0 : Math.floor(min / step) * step;
  const to = Math.ceil(max / step) * step;
  const ticks = Array.from({ length: Math.round((to - from) / step) + 1 }, (_, index) => from + index * step);
  return { min: from, max: to, ticks };
}

/** At most one decimal is a tenth of a pixel. */
const number = (value: number): string => String(Math.round(value * 10) / 10);
const tickText = (value: number): string =>
  Number(value.toPrecision(6)).toLocaleString('en-US', { maximumFractionDigits: 6 });
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
