// npm run test:restarts [-- --runs N] [--seed S] [--kind KIND] [--parallel N] [--verbose]: sets up a fresh clone and restarts
// what the built agent depends on, N times for each kind of identity, by default 200. It prints its seed.
// With --table: what an agent of each kind says and does in each situation, such as a service that is away at its start.
import { spawnSync } from 'node:child_process';
import { setUp } from './set-up.mjs';

await setUp();
const { status } = spawnSync(process.execPath, ['dist/test/harness/restarts/main.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
