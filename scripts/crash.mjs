// npm run test:crash [-- --runs N] [--seed S]: sets up a fresh clone, kills the built agent N times, 40 unless told, and
// says what became of the events. With the seed that it prints, the same things happen at about the same times.
import { spawnSync } from 'node:child_process';
import { setUp } from './set-up.mjs';

setUp();
const { status } = spawnSync(process.execPath, ['dist/test/crash/main.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
