// npm run bench [-- NAME…]: sets up a fresh clone and runs all benchmarks one after another, or those whose name
// contains a NAME. They assert nothing, but print figures, each with its budget and a figure for comparison. Benchmarks
// of the whole agent run the bundle, as shipped, or the program that VAKT_PROGRAM names.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setUp } from './set-up.mjs';
import { withShippedProgram } from './shipped-program.mjs';

const FOLDER = 'dist/test/bench';
const filters = process.argv.slice(2);

await setUp();
const benches = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.bench.js'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort();
if (benches.length === 0) {
  console.error(`No benchmark's name contains ${filters.join(' or ')}.`);
  process.exit(2);
}
const env = await withShippedProgram();
let failed = false;
for (const file of ['machine.js', ...benches]) {
  const { status } = spawnSync(process.execPath, [join(FOLDER, file)], { stdio: 'inherit', env });
  if (status === 0) continue;
  console.error(`${file} exited with ${status}.`);
  failed = true;
}
process.exit(failed ? 1 : 0);
