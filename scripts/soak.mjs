// npm run test:soak [-- --hours N] [--day MINUTES] [--from HOUR] [--apart | --hostile] [--seed S] [--plot FILE]: sets up a fresh
// clone, and has the agent live through days of a gateway that are sped up: as it is shipped, or the program that VAKT_PROGRAM
// names. It checks the books after each hour of the gateway's, draws what the agent used as dist/soak.svg, and says whether
// anything grew. With --apart, nothing else on the machine counts; with --hostile, a user of the device attacks during the run.
import { spawnSync } from 'node:child_process';
import { setUp } from './set-up.mjs';
import { withShippedProgram } from './shipped-program.mjs';

await setUp();
const { status } = spawnSync(process.execPath, ['dist/test/harness/soak/main.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: await withShippedProgram(),
});
process.exit(status ?? 1);
