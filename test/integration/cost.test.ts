import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { minutes } from '../../src/core/base/duration.ts';
import { CHOICES, HEADS, LIVES, measureDay, rowOf } from '../agent/pipeline/day-costs.ts';

const page = readFileSync('docs/cost.md', 'utf8');
const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
/** Rows of the tables of figures, keyed by workload. */
const tables = page.split(`${line(HEADS)}\n`).slice(1);

describe('docs/cost.md @release', function () {
  this.timeout(minutes(5));

  it('has a table for each workload with each choice of settings', () => {
    assert.equal(tables.length, LIVES.length);
    for (const table of tables)
      for (const { name } of CHOICES) assert.match(table, new RegExp(`^\\| ${name} \\|`, 'm'));
  });

  // The other workloads are computed in the same way, but take longer.
  for (const [life, choice] of [
    [0, 'default'],
    [1, 'sparing'],
    [1, 'every occurrence'],
  ] as const) {
    it(`has the figures of a simulated day of ${LIVES[life]?.name}: ${choice} (to update: npm run bench day)`, async () => {
      const chosen = CHOICES.find(({ name }) => name === choice);
      const lived = LIVES[life];
      assert.ok(chosen && lived);
      const row = line(rowOf(await measureDay(lived, chosen)));
      assert.ok(tables[life]?.includes(`${row}\n`), row);
    });
  }
});
