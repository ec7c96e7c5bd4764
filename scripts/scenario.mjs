// npm run test:crash, test:restarts and test:soak [-- OPTIONS]: sets up a fresh clone, and runs a scenario of test/harness: an
// agent under load, with faults. It compares the events that happened with those that the hub received, prints violations,
// and exits with 1 if there are any. Agents are run as they are shipped, or as the program that VAKT_PROGRAM names.
//
//   crash      kills the agent again and again
//   restarts   restarts what the agent depends on, for each kind of identity; --table: logs and actions in each situation
//   soak       days of a gateway, sped up: memory, disk, descriptors and CPU must not grow; dist/soak.svg shows them
//
// `--help` lists the options. A run prints its seed, to repeat it with about the same timing.
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
