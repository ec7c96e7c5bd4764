import assert from 'node:assert/strict';
import { type Chart, draw } from './chart.ts';

const chart = (changes: Partial<Chart> = {}): Chart => ({
  title: 'Memory & more',
  comment: 'drawn -- by a test',
  xName: 'days',
  panels: [
    {
      title: 'RSS, <MiB>',
      series: [
        { name: 'at work', points: [0, 1, 2].map((x) => ({ x, y: 40 + x })) },
        { name: 'at rest', points: [{ x: 1, y: 38 }], as: 'dots' },
      ],
      marks: [{ y: 48, name: 'limit' }],
    },
    { title: 'descriptors', series: [{ name: '', points: [{ x: 2, y: 30 }] }] },
  ],
  bands: [{ from: 0.5, to: 0.7, name: 'hub away' }],
  ...changes,
});

/** All coordinates and sizes, each with the element that it belongs to. */
const places = (svg: string) => [...svg.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);

describe('draw', () => {
  it('draw returns well-formed XML for any text', () => {
    const svg = draw(chart());
    assert.doesNotMatch(svg, /<MiB>|& /);
    assert.doesNotMatch(svg.replace(/<!--|-->/g, ''), /--[^a-z]/);
    for (const [, name] of svg.matchAll(/<(g|svg|style|title)\b/g))
      assert.equal(svg.split(`<${name}`).length, svg.split(`</${name}>`).length, name);
  });

  it('draw keeps everything within the picture, and puts the larger value higher', () => {
    const svg = draw(chart());
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) ?? [];
    for (const [x = -1, y = -1] of places(svg)) {
      assert.ok(x >= 0 && x <= Number(width), `${x}`);
      assert.ok(y >= 0 && y <= Number(height), `${y}`);
    }
    const line = /<path d="(M[^"]+L[^"]+)" class="series"/.exec(svg)?.[1] ?? '';
    const heights = places(line).map(([, y = 0]) => y);
    assert.deepEqual(
      heights,
      [...heights].sort((a, b) => b - a),
    );
  });

  it('draw omits names of bands that would overlap, and still shows them as tooltips', () => {
    const bands = [0, 0.01, 0.02, 1].map((from) => ({ from, to: from + 0.01, name: `outage at ${from}` }));
    const svg = draw(chart({ bands }));
    const below = [...svg.matchAll(/rotate\(-60\)[^>]*>([^<]*)</g)].map(([, name]) => name);
    assert.deepEqual(below, ['outage at 0', 'outage at 1']);
    for (const { name } of bands) assert.ok(svg.includes(`<title>${name}</title>`), name);
  });

  it('draw accepts empty, single and equal points', () => {
    for (const points of [[], [{ x: 0, y: 0 }], [1, 2].map((x) => ({ x, y: 7 }))]) {
      const svg = draw(chart({ bands: [], panels: [{ title: 'flat', series: [{ name: 'one', points }] }] }));
      assert.doesNotMatch(svg, /NaN|Infinity/);
    }
  });
});
