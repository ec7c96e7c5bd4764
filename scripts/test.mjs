// npm test [-- FILTER…]: sets up a fresh clone and runs the tests, or those whose path contains a FILTER. A FILTER is a part of
// a path below test/, such as `agent/config/` or `test/core/base/loop.test.ts`.
//
//   --watch    runs the tests again whenever a source changes
//
// Agents are tested as they are shipped, which start in half the time, or as the program that VAKT_PROGRAM names. Types are
// checked only by `npm run build` and by a run without a FILTER.
//
// Without a filter the tests run in parallel processes. The kernel has one audit slot, so only one of them may use audit;
// the others run without the capabilities for it. Outages that take minutes are left to `npm run test:release`,
// which sets VAKT_RELEASE=1. Otherwise, generated cases have a fixed seed, and models are compared with fewer of them.
//
// Skipped tests print their reason. With VAKT_REQUIRE_ALL=1, as in CI, a skip is a failure, except for tests against
// the published schemas when VAKT_PUBLISHED_SCHEMAS names no folder.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, watch as watchFolder } from 'node:fs';
import { join } from 'node:path';
import { checkTypes, setUp, TOP } from './set-up.mjs';

const WITHOUT_AUDIT = ['/usr/bin/setpriv', '--bounding-set=-audit_control,-audit_read'];
/** Run one after another. */
const USES_AUDIT = /missing-for-audit/;
/** Wait for minutes, for hubs and disks that do not answer. */
const FOR_RELEASE = /^integration\/(?:twin|faults|evidence|slow-disk)\.test\.js$/;
/** Mostly wait: for agents, for files that are looked at every ten seconds, for ports that do not answer. */
const WAITS = /^(?:agent\/commands|emulator\/page|harness|integration|kql|scripts|system)\//;
/** These wait longest, and begin first. */
const WAITS_LONG = /^(?:harness\/restarts|integration\/(?:identity-|networks|secrets|loaded-code|restarts|cli))/;
/** Groups of files that only compute: a process takes half a second to start. */
const GROUPS = 8;
/** Processes besides the one with audit. Two of four wait, on average. */
const LANES = 4;

const IS_RELEASE = process.env.VAKT_RELEASE === '1';
/** How many of the slowest files are listed. */
const SLOWEST = 24;

/** The duration of each file's tests in seconds, including its hooks; shared hooks have no file. */
class TimesOfFiles {
  #last = performance.now();
  seconds = {};

  ended(file) {
    const now = performance.now();
    const name = String(file ?? 'hooks of all files')
      .replace(/^.*dist\/test\//, '')
      .replace(/\.test\.js$/, '');
    this.seconds[name] = (this.seconds[name] ?? 0) + (now - this.#last) / 1_000;
    this.#last = now;
  }
}

/** The message of a failed assertion, with the compared values, as one line. */
const inALine = (message) => String(message).replace(/\s+/g, ' ').slice(0, 600);

/** Tests that start the program that is shipped. */
const USE_SHIPPED_PROGRAM = /^(?:agent\/commands|emulator|harness|installed|integration|system)\//;

const [option, ...rest] = process.argv.slice(2);
if (option === '--files') {
  process.chdir(TOP); // set up already
  await run(rest);
} else if (option === '--built') {
  // Two runs at a time must not both write dist/: one would load files while the other empties them.
  process.chdir(TOP);
  await run(testsOf(among(rest)));
} else if (option === '--watch') {
  watch(rest);
} else if (option === undefined) {
  await setUp();
  checkTypes();
  await useShippedProgram();
  await runAll();
} else {
  await setUp();
  const files = testsOf(among([option, ...rest]));
  if (files.some((file) => USE_SHIPPED_PROGRAM.test(file))) await useShippedProgram();
  await run(files);
}

async function useShippedProgram() {
  const { withShippedProgram } = await import('./shipped-program.mjs'); // test:by has no bundler
  Object.assign(process.env, await withShippedProgram());
}

/** Files whose path contains one of these. */
function among(filters) {
  const parts = filters.map((filter) => filter.replace(/^(?:\.\/)?(?:dist\/)?test\//, '').replace(/\.ts$/, '.js'));
  return (file) => parts.some((part) => file.includes(part));
}

function testsOf(has) {
  return readdirSync('dist/test', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js') && has(file))
    .sort();
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

/** Runs tests in this process, and exits. */
async function run(files) {
  if (files.length === 0) {
    console.error(`No test file's path contains ${rest.concat(option.startsWith('--') ? [] : option).join(' or ')}.`);
    process.exit(2);
  }
  const { loadTests } = await import('./mocha.mjs'); // needs what was just installed
  const mocha = await loadTests(files);

  const requireAll = process.env.VAKT_REQUIRE_ALL === '1';
  const schemasAreThere = Boolean(process.env.VAKT_PUBLISHED_SCHEMAS);
  const isAllowed = (title) => !schemasAreThere && /published schema/i.test(title);
  const skipped = [];
  const failures = [];
  const times = new TimesOfFiles();
  const runner = mocha.run(() => {
    const missing = requireAll ? skipped.filter((title) => !isAllowed(title)) : [];
    // Repeated here, one line each, for readers who see only the end of a long log.
    for (const title of missing) console.log(`Skipped, but required: ${title}`);
    for (const failure of failures) console.log(`Failed: ${failure}`);
    const failed = failures.length + missing.length;
    const { passes } = runner.stats;
    console.log(`${passes} passed, ${failed} failed`);
    const lines = [
      ...missing.map((title) => `Skipped, but required: ${title}`),
      ...failures.map((each) => `Failed: ${each}`),
    ];
    const exit = () => process.exit(failed === 0 && passes > 0 ? 0 : 1);
    if (process.send === undefined) exit();
    else process.send({ passed: passes, failed, lines, seconds: times.seconds }, exit);
  });
  runner.on('pending', (test) => skipped.push(test.fullTitle()));
  runner.on('fail', (test, error) => failures.push(`${test.fullTitle()}: ${inALine(error?.message)}`));
  for (const event of ['test end', 'hook end']) runner.on(event, ({ file }) => times.ended(file));
}

/** Runs all tests, in parallel processes. The output of each is printed when it has finished. */
async function runAll() {
  const files = testsOf((file) => IS_RELEASE || !FOR_RELEASE.test(file));
  const [audit, ...waitingJobs] = jobsOf(files);
  const results = [];
  const lane = async () => {
    for (let job = waitingJobs.shift(); job !== undefined; job = waitingJobs.shift()) results.push(await runJob(job));
  };
  const lanes = Array.from({ length: LANES }, lane);
  results.push(await runJob(audit, { usesAudit: true }));
  await Promise.all(lanes);
  // Repeated here, for the same reason.
  for (const line of results.flatMap(({ lines }) => lines)) console.log(line);
  const seconds = Object.entries(Object.assign({}, ...results.map((each) => each.seconds)));
  const slowest = seconds.sort(([, one], [, other]) => other - one).slice(0, SLOWEST);
  console.log(`Slowest: ${slowest.map(([file, each]) => `${file} ${Math.round(each)} s`).join(', ')}`);
  for (const { name, minutes } of results
    .slice()
    .sort((one, other) => other.minutes - one.minutes)
    .slice(0, 3)) {
    console.log(`Longest process: ${minutes.toFixed(1)} min, ${name}`);
  }
  const sum = (key) => results.reduce((all, result) => all + result[key], 0);
  const [passed, failed] = [sum('passed'), sum('failed')];
  console.log(`${passed} passed, ${failed} failed`);
  // Not process.exit, which loses what waits for the reader of a pipe.
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

/** Files that one process runs; first those that use audit, then those that take longest. */
function jobsOf(files) {
  const source = (file) => readFileSync(join('dist/test', file), 'utf8');
  const audit = files.filter((file) => /^(?:harness|system)\//.test(file) && USES_AUDIT.test(source(file)));
  const withoutAudit = files.filter((file) => !audit.includes(file));
  const waiting = withoutAudit.filter((file) => WAITS.test(file));
  const computing = withoutAudit.filter((file) => !WAITS.test(file));
  const groups = Array.from({ length: GROUPS }, (_, group) => computing.filter((_, index) => index % GROUPS === group));
  const [long, short] = [true, false].map((isLong) => waiting.filter((file) => WAITS_LONG.test(file) === isLong));
  return [audit, ...long.map((file) => [file]), ...short.map((file) => [file]), ...groups];
}

async function runJob(files, { usesAudit = false } = {}) {
  const began = performance.now();
  const canDrop = process.getuid?.() === 0 && existsSync(WITHOUT_AUDIT[0]);
  const test = [process.execPath, join(TOP, 'scripts/test.mjs'), '--files', ...files];
  const [program, ...args] = canDrop && !usesAudit ? [...WITHOUT_AUDIT, ...test] : test;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let result;
  child.on('message', (message) => {
    result = message;
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const [status] = await once(child, 'close');
  process.stdout.write(output);
  const name = files.length === 1 ? files[0] : `${files[0]} and ${files.length - 1} more`;
  result ??= { passed: 0, failed: 1, seconds: {}, lines: [`Failed: ${name}: exited with ${status} before the end`] };
  const minutes = (performance.now() - began) / 60_000;
  return { name, minutes, ...result, failed: status === 0 ? result.failed : Math.max(result.failed, 1) };
}
