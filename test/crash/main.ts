import { parseArgs } from 'node:util';
import { systemClock } from '../../src/base/clock.ts';
import { crash } from './crash.ts';

/*
 * npm run test:crash -- --runs N [--seed S] [--kernel]: kills the agent N times, and says what became of the events.
 * With --kernel those are of the kernel's own audit, which the agent must be able to have.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '40' }, seed: { type: 'string' }, kernel: { type: 'boolean' } },
});
const runs = Number(values.runs);
const seed = Number(values.seed ?? systemClock.now().getTime() % 1_000_000);
if (!Number.isSafeInteger(runs) || runs < 1 || !Number.isSafeInteger(seed)) {
  process.stderr.write('usage: npm run test:crash -- [--runs N] [--seed S] [--kernel]\n');
  process.exit(2);
}
const { violations } = await crash({
  runs,
  seed,
  source: values.kernel === true ? 'auditUnicast' : 'auditLog',
  say: (line) => process.stdout.write(`${line}\n`),
});
process.exit(violations.length === 0 ? 0 : 1);
