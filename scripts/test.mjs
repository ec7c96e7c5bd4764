// npm test [-- FILTER…]: sets up a fresh clone and runs the tests, or those whose path contains a FILTER.
//
// Skipped tests print their reason. With VAKT_REQUIRE_ALL=1, as in CI, a skip is a failure, but for the one that is
// allowed: tests against the published schemas, when VAKT_PUBLISHED_SCHEMAS names no folder.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setUp, TOP } from './set-up.mjs';

/** Takes minutes, most of them waiting: runs beside the others, without what it could take from them, the kernel's audit. */
const WAITING = 'integration/twin.test.js';
const WITHOUT_AUDIT = ['/usr/bin/setpriv', '--bounding-set=-audit_control,-audit_read'];

setUp();
const { default: Mocha } = await import('mocha');
const filters = process.argv.slice(2);
const isAll = filters.length === 0;
const beside = isAll ? runBeside() : undefined;
const files = readdirSync('dist/test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => (isAll ? file !== WAITING : filters.some((filter) => file.includes(filter))))
  .sort();
const mocha = new Mocha({ timeout: 30_000, forbidOnly: true, reporter: 'spec' });
for (const file of files) mocha.addFile(join('dist/test', file));
await mocha.loadFilesAsync();

const requireAll = process.env.VAKT_REQUIRE_ALL === '1';
const schemasAreThere = Boolean(process.env.VAKT_PUBLISHED_SCHEMAS);
const isAllowed = (title) => !schemasAreThere && /published schema/i.test(title);
const skipped = [];
const failures = [];
const runner = mocha.run(async () => {
  const missing = requireAll ? skipped.filter((title) => !isAllowed(title)) : [];
  const others = (await beside) ?? { passed: 0, failed: 0 };
  // Said once more here, on a line each, for whoever sees only the end of a long log.
  for (const title of missing) console.log(`Skipped, but required: ${title}`);
  for (const failure of failures) console.log(`Failed: ${failure}`);
  const failed = failures.length + missing.length + others.failed;
  const passed = runner.stats.passes + others.passed;
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
});
runner.on('pending', (test) => skipped.push(test.fullTitle()));
runner.on('fail', (test, error) => failures.push(`${test.fullTitle()}: ${String(error?.message).split('\n', 1)[0]}`));

/** Shows what it printed once it has ended. */
async function runBeside() {
  const canDrop = process.getuid?.() === 0 && existsSync(WITHOUT_AUDIT[0]);
  const test = [process.execPath, join(TOP, 'scripts/test.mjs'), WAITING];
  const [program, ...args] = canDrop ? [...WITHOUT_AUDIT, ...test] : test;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const [status] = await once(child, 'close');
  const [, passed = 0, failed = 1] = /^(\d+) passed, (\d+) failed\n$/m.exec(output)?.map(Number) ?? [];
  console.log(output.replace(/^\d+ passed, \d+ failed\n$/m, ''));
  const saysWhat = /^(?:Failed|Skipped, but required): /m.test(output);
  if (status !== 0 && !saysWhat) console.log(`Failed: ${WAITING} ended with ${status}`);
  return { passed, failed: status === 0 ? failed : Math.max(failed, 1) };
}
