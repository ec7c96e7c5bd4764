// npm test [-- FILTER…]: sets up a fresh clone and runs the tests, or those whose path contains a FILTER. A FILTER is a part of
// a path below test/, such as `agent/config/` or `test/core/base/loop.test.ts`.
//
//   --watch         runs the tests again whenever a source changes
//   --keep-going    runs the slow tests even if tests that only compute have failed
//
// Agents are tested as they are shipped, which start in half the time, or as the program that VAKT_PROGRAM names. Types are
// checked only by `npm run build` and by a run without a FILTER.
//
// Without a filter, this is the fast set, in parallel processes (scripts/test-all.mjs). Tests with `@release` in their title, or
// in that of a `describe` around them, run only in `npm run test:release`, which sets VAKT_RELEASE=1, and with a FILTER.
// Outside of a release, generated cases have a fixed seed, and models are compared with fewer of them.
//
// Skipped tests print their reason. With VAKT_REQUIRE_ALL=1, as in a release, a skip is a failure, except for tests against
// the published schemas when VAKT_PUBLISHED_SCHEMAS names no folder.
import { spawn, spawnSync } from 'node:child_process';
import { watch as watchFolder } from 'node:fs';
import { checkTypes, setUp, TOP } from './set-up.mjs';
import { isForRelease, lockAudit, testsIn, USES_SHIPPED_PROGRAM, usesAudit, withoutAudit } from './test-files.mjs';
import { mayBeSkipped, processorSeconds, runTests } from './test-results.mjs';

const IS_RELEASE = process.env.VAKT_RELEASE === '1';

const options = process.argv.slice(2);
const [option, ...rest] = options;
if (option === '--files') {
  process.chdir(TOP); // set up already, by a whole run
  const results = await runTests(rest, { withRelease: IS_RELEASE });
  process.send({ results, processor: processorSeconds() }, () => process.exit(0));
} else if (option === '--built') {
  // Two runs at a time must not both write dist/: one would load files while the other empties them.
  process.chdir(TOP);
  await run(rest, { withRelease: IS_RELEASE });
} else if (option === '--watch') {
  watch(rest);
} else if (option === undefined || option === '--keep-going') {
  await setUp();
  await checkTypes();
  await useShippedProgram();
  const { runAll } = await import('./test-all.mjs');
  const files = testsIn('dist/test').filter((file) => IS_RELEASE || !isForRelease(file));
  const hasPassed = await runAll(files, { keepGoing: IS_RELEASE || option === '--keep-going' });
  // Not process.exit, which loses what waits for the reader of a pipe.
  process.exitCode = hasPassed ? 0 : 1;
} else {
  await setUp();
  await run(options, { withRelease: true });
}

async function useShippedProgram() {
  const { withShippedProgram } = await import('./shipped-program.mjs'); // test:by has no bundler
  Object.assign(process.env, await withShippedProgram());
}

/** Runs tests in this process, and exits. */
async function run(filters, options) {
  const parts = filters.map((filter) => filter.replace(/^(?:\.\/)?(?:dist\/)?test\//, '').replace(/\.ts$/, '.js'));
  const files = testsIn('dist/test').filter((file) => parts.some((part) => file.includes(part)));
  if (files.length === 0) {
    console.error(`No test file's path contains ${filters.join(' or ')}.`);
    process.exit(2);
  }
  if (files.some((file) => USES_SHIPPED_PROGRAM.test(file))) {
    // Its agents would take audit from those of another run.
    const [through, ...args] = withoutAudit();
    if (files.some(usesAudit)) await lockAudit();
    else if (through !== undefined) {
      process.exit(spawnSync(through, [...args, ...process.argv], { stdio: 'inherit' }).status ?? 1);
    }
    await useShippedProgram();
  }
  const results = Object.values(await runTests(files, options));
  const failures = results.flatMap(({ failed }) => failed);
  const required = results.flatMap(({ skipped }) => skipped).filter((skip) => !mayBeSkipped(skip));
  // Repeated here, one line each, for readers who see only the end of a long log.
  for (const { title, reason } of required) console.log(`Skipped, but required: ${title}: ${reason}`);
  for (const { title, message } of failures) console.log(`Failed: ${title}: ${message}`);
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = failures.length + required.length;
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

/** Runs the tests now, and in a new process after each change of a source. */
function watch(filters) {
  process.chdir(TOP);
  let running;
  let timer;
  const start = () => {
    running?.kill('SIGTERM');
    running = spawn(process.execPath, ['scripts/test.mjs', ...filters], { stdio: 'inherit' });
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(start, 100); // editors write a file in several steps
  };
  for (const folder of ['src', 'test', 'config']) watchFolder(folder, { recursive: true }, later);
  start();
}
