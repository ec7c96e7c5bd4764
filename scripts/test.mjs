// npm test [-- FILTER…]: sets up a fresh clone and runs the tests, or those whose path contains a FILTER. A FILTER is a part of
// a path below test/, such as `agent/config/` or `test/core/base/loop.test.ts`.
//
//   --watch    runs the tests again whenever a source changes
//
// Agents are tested as they are shipped, which start in half the time, or as the program that VAKT_PROGRAM names. Types are
// checked only by `npm run build` and by a run without a FILTER.
//
// Without a filter the tests run in parts, in parallel processes. The kernel has one audit slot, so only one part may
// use audit; the others run without the capabilities for it. Outages that take minutes are left to `npm run test:release`,
// which sets VAKT_RELEASE=1. Otherwise, generated cases have a fixed seed, and models are compared with fewer of them.
//
// Skipped tests print their reason. With VAKT_REQUIRE_ALL=1, as in CI, a skip is a failure, except for tests against
// the published schemas when VAKT_PUBLISHED_SCHEMAS names no folder.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, watch as watchFolder } from 'node:fs';
import { join } from 'node:path';
import { checkTypes, setUp, TOP } from './set-up.mjs';

const WITHOUT_AUDIT = ['/usr/bin/setpriv', '--bounding-set=-audit_control,-audit_read'];
const PARTS = {
  system: { has: (file) => /^(?:harness\/crash|system)\//.test(file), usesAudit: true },
  /** Wait for minutes, for hubs and disks that do not answer, and do little. */
  outages: {
    has: (file) => /^integration\/(?:twin|faults|evidence|slow-disk)\.test\.js$/.test(file),
    isForRelease: true,
  },
  /** Waits, too: for files that are looked at every ten seconds, and for ports that do not answer. */
  identities: {
    has: (file) => /^(?:harness\/restarts\/|integration\/(?:identity-|networks|secrets|loaded-code))/.test(file),
  },
  integration: {
    has: (file) =>
      !isIn(['outages', 'identities'], file) && /^(?:agent\/commands|emulator\/page|integration|scripts)\//.test(file),
  },
  units: { has: (file) => !isIn(['system', 'outages', 'identities', 'integration'], file) },
};
const isIn = (parts, file) => parts.some((part) => PARTS[part].has(file));

const IS_RELEASE = process.env.VAKT_RELEASE === '1';
/** Outside of a release, fast-check generates the same cases in every run, so that a change can't fail by chance. */
const SAME_CASES = { seed: 20_260_101 };

/** How many of the slowest files of a part are listed. */
const SLOWEST = 8;

/** The duration of each file's tests, including its hooks; shared hooks have no file. */
class TimesOfFiles {
  #last = performance.now();
  #seconds = new Map();

  ended(file) {
    const now = performance.now();
    this.#seconds.set(file, (this.#seconds.get(file) ?? 0) + (now - this.#last) / 1_000);
    this.#last = now;
  }

  slowest() {
    const sorted = [...this.#seconds].sort(([, a], [, b]) => b - a).slice(0, SLOWEST);
    const name = (file) =>
      String(file ?? 'hooks of all files')
        .replace(/^.*dist\/test\//, '')
        .replace(/\.test\.js$/, '');
    return sorted.map(([file, seconds]) => `${name(file)} ${Math.round(seconds)} s`).join(', ');
  }
}

/** The message of a failed assertion, with the compared values, as one line. */
const inALine = (message) => String(message).replace(/\s+/g, ' ').slice(0, 600);

/** Tests that start the program that is shipped. */
const USE_SHIPPED_PROGRAM = /^(?:agent\/commands|emulator|harness|installed|integration|system)\//;

const [option, ...rest] = process.argv.slice(2);
if (option === '--part') {
  process.chdir(TOP); // set up already
  await run(testsOf(PARTS[rest[0]].has), `Slowest of ${rest[0]}`);
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
  await runInParts();
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
async function run(files, slowest) {
  if (files.length === 0) {
    console.error(`No test file's path contains ${rest.concat(option.startsWith('--') ? [] : option).join(' or ')}.`);
    process.exit(2);
  }
  const { endLeftProcesses, markTestRun } = await import('../dist/test/harness/test-run.js');
  await endLeftProcesses();
  markTestRun();
  const { default: fc } = await import('fast-check');
  // By default, arrays and strings have at most 10 elements, even if their maxLength is greater.
  fc.configureGlobal({
    ...fc.readConfigureGlobal(),
    ...(IS_RELEASE ? {} : SAME_CASES),
    defaultSizeToMaxWhenMaxSpecified: true,
  });
  const { default: Mocha } = await import('mocha');
  // Some tests compute for ten seconds where five parts share two cores.
  const mocha = new Mocha({ timeout: 120_000, forbidOnly: true, reporter: 'spec' });
  for (const file of files) mocha.addFile(join('dist/test', file));
  await mocha.loadFilesAsync();

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
    if (slowest !== undefined) console.log(`${slowest}: ${times.slowest()}`);
    const failed = failures.length + missing.length;
    console.log(`${runner.stats.passes} passed, ${failed} failed`);
    process.exit(failed === 0 && runner.stats.passes > 0 ? 0 : 1);
  });
  runner.on('pending', (test) => skipped.push(test.fullTitle()));
  runner.on('fail', (test, error) => failures.push(`${test.fullTitle()}: ${inALine(error?.message)}`));
  for (const event of ['test end', 'hook end']) runner.on(event, ({ file }) => times.ended(file));
}

/** Runs all parts in parallel. The output of the first is shown live, that of the others when they have finished. */
async function runInParts() {
  const shown = { part: undefined };
  const parts = Object.entries(PARTS).filter(([, { isForRelease = false }]) => IS_RELEASE || !isForRelease);
  const results = await Promise.all(parts.map(([name, part]) => runPart(name, part, shown)));
  const lines = results.flatMap(({ lines }) => lines);
  // Repeated here, for the same reason.
  for (const line of lines.filter((line) => /^(?:Failed|Skipped, but required|Slowest of \w+): /.test(line))) {
    console.log(line);
  }
  for (const { name, minutes } of results) console.log(`Part ${name}: ${minutes.toFixed(1)} min`);
  const passed = results.reduce((all, part) => all + part.passed, 0);
  const failed = results.reduce((all, part) => all + part.failed, 0);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

async function runPart(name, { usesAudit = false }, shown) {
  const began = performance.now();
  const canDrop = process.getuid?.() === 0 && existsSync(WITHOUT_AUDIT[0]);
  const test = [process.execPath, join(TOP, 'scripts/test.mjs'), '--part', name];
  const [program, ...args] = canDrop && !usesAudit ? [...WITHOUT_AUDIT, ...test] : test;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let printed = 0;
  const show = () => {
    shown.part ??= name;
    if (shown.part !== name) return;
    process.stdout.write(output.slice(printed));
    printed = output.length;
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
      show();
    });
  }
  const [status] = await once(child, 'close');
  if (shown.part === name) shown.part = undefined;
  else process.stdout.write(output.slice(printed));
  const lines = output.split('\n');
  const summary = lines.findLast((line) => /^\d+ passed, \d+ failed$/.test(line));
  const [passed = 0, failed = 1] = summary?.match(/\d+/g)?.map(Number) ?? [];
  if (summary === undefined) lines.push(`Failed: the tests of ${name} exited with ${status} before they had finished`);
  const minutes = (performance.now() - began) / 60_000;
  return { name, lines, minutes, passed, failed: status === 0 ? failed : Math.max(failed, 1) };
}
