import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { minutes } from '../../src/core/base/duration.ts';
import { CHOICES, HEADS, LIVES, measureDay, rowOf } from '../agent/pipeline/day-costs.ts';

const page = readFileSync('docs/cost.md', 'utf8');
const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
/** The rows of each table of figures, by life. */
const tables = page.split(`${line(HEADS)}\n`).slice(1);

describe('docs/cost.md', function () {
  this.timeout(minutes(5));

  it('has a table of each life, with each choice of settings', () => {
    assert.equal(tables.length, LIVES.length);
    for (const table of tables)
      for (const { name } of CHOICES) assert.match(table, new RegExp(`^\\| ${name} \\|`, 'm'));
  });

  // The others are made in the same way, and take longer.
  for (const [life, choice] of [
    [0, 'default'],
    [1, 'sparing'],
    [1, 'every occurrence'],
  ] as const) {
    it(`has the figures that the agent's parts make of ${LIVES[life]?.name}: ${choice} (if not: npm run bench day)`, async () => {
      const chosen = CHOICES.find(({ name }) => name === choice);
      const lived = LIVES[life];
      assert.ok(chosen && lived);
      const row = line(rowOf(await measureDay(lived, chosen)));
      assert.ok(tables[life]?.includes(`${row}\n`), row);
    });
  }
});
