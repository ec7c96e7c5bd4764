import { isCount, newSeed, readOptions, say, wrongUsage } from '../options.ts';
import { crash } from './crash.ts';

/*
 * npm run test:crash: kills the agent N times, and reports the outcome of the events. They are sent one by one; with
 * --aggregated, the agent counts them. They are in a log of auditd; with --kernel, they come from the kernel's audit,
 * which no other process may use then. With --alerts, the alerts that the events raise are counted instead.
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
const seed = Number(values.seed ?? newSeed());
const kinds = [values.kernel, values.aggregated, values.alerts].filter((kind) => kind);
if (!isCount(runs) || !Number.isSafeInteger(seed) || kinds.length > 1) wrongUsage(USAGE);
const { violations } = await crash({
  runs,
  seed,
  source: values.kernel ? 'auditUnicast' : 'auditLog',
  aggregated: values.aggregated,
  alerts: values.alerts,
  say,
});
process.exit(violations.length === 0 ? 0 : 1);
