import { systemClock } from '../../../src/core/base/clock.ts';
import { readOptions, wrongUsage } from '../options.ts';
import { crash } from './crash.ts';

/*
 * npm run test:crash: kills the agent N times, and says what became of the events. They are sent one by one, unless with
 * --aggregated they are counted by the agent; they lie in a log of auditd's, unless with --kernel they are the kernel's,
 * which the agent must be able to have for itself. With --alerts, alerts that they raise are counted instead of them.
 */
const USAGE = 'usage: npm run test:crash -- [--runs N] [--seed S] [--aggregated | --kernel | --alerts]\n';
const values = readOptions(
  {
    runs: { type: 'string', default: '40' },
    seed: { type: 'string' },
    aggregated: { type: 'boolean', default: false },
    kernel: { type: 'boolean', default: false },
    alerts: { type: 'boolean', default: false },
  },
  USAGE,
);
const runs = Number(values.runs);
const seed = Number(values.seed ?? systemClock.now().getTime() % 1_000_000);
const kinds = [values.kernel, values.aggregated, values.alerts].filter((kind) => kind);
if (!Number.isSafeInteger(runs) || runs < 1 || !Number.isSafeInteger(seed) || kinds.length > 1) wrongUsage(USAGE);
const { violations } = await crash({
  runs,
  seed,
  source: values.kernel ? 'auditUnicast' : 'auditLog',
  aggregated: values.aggregated,
  alerts: values.alerts,
  say: (line) => process.stdout.write(`${line}\n`),
});
process.exit(violations.length === 0 ? 0 : 1);
