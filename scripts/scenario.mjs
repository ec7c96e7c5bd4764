// npm run test:crash, test:restarts and test:soak [-- OPTIONS]: sets up a fresh clone, and runs a scenario of test/harness: an
// agent under load, with faults. It compares the events that happened with those that the hub received, prints violations,
// and exits with 1 if there are any. It prints its seed, with which a run can be repeated with about the same timing.
// `--help` lists the options. Agents are run as they are shipped, or as the program that VAKT_PROGRAM names.
import { spawnSync } from 'node:child_process';
import { setUp } from './set-up.mjs';
import { withShippedProgram } from './shipped-program.mjs';

const [name, ...options] = process.argv.slice(2);

await setUp();
const { status } = spawnSync(process.execPath, [`dist/test/harness/${name}/main.js`, ...options], {
  stdio: 'inherit',
  env: await withShippedProgram(),
});
process.exit(status ?? 1);
