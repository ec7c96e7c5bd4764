// npm run test:crash [-- --runs N] [--seed S]: sets up a fresh clone, kills the built agent N times, by default 40, and
// reports what became of the events, or with --alerts, of the alerts that they raise. It prints its seed, with which a run
// can be repeated with about the same timing.
import { spawnSync } from 'node:child_process';
import { setUp } from './set-up.mjs';

await setUp();
const { status } = spawnSync(process.execPath, ['dist/test/harness/crash/main.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
