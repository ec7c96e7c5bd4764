import { CHOICES, HEADS, LIVES, measureDay, rowOf } from '../agent/pipeline/day-costs.ts';
import { report } from './figures.ts';

/* Computes the tables of docs/cost.md in a simulation, independent of the machine. */

for (const life of LIVES) {
  const rows = [];
  for (const choice of CHOICES) rows.push(rowOf(await measureDay(life, choice)));
  report(`A day of ${life.name}, by settings`, [HEADS, ...rows]);
}
