import { readFileSync } from 'node:fs';
import { loadTests } from './mocha.mjs';

/** The real one: a test replaces it. */
const cpuUsage = process.cpuUsage.bind(process);

/** The message of a failed assertion, with the compared values, as one line. */
const inALine = (message) => String(message).replace(/\s+/g, ' ').slice(0, 600);

/**
 * Runs tests in this process, and prints them.
 *
 * @param files compiled tests, below dist/test
 * @param options.withRelease whether tests run that are for releases only
 * @returns for each file the number of `passed` tests, the `failed` and the `skipped` ones, its `seconds`, and
 *   the `processor` time of this process in seconds
 */
export async function runTests(files, { withRelease }) {
  const mocha = await loadTests(files);
  if (!withRelease) mocha.grep(/@release/).invert();
  const { takeReason } = await import('../dist/test/harness/require.js');
  const results = {};
  const resultOf = ({ file = files[0] }) => {
    const name = file.replace(/^.*dist\/test\//, ''); // a hook of all files has none
    results[name] ??= { passed: 0, failed: [], skipped: [], seconds: 0, processor: 0 };
    return results[name];
  };
  let last = performance.now();
  let used = cpuUsage();
  const runner = mocha.run();
  runner.on('pass', (test) => {
    resultOf(test).passed += 1;
  });
  runner.on('fail', (test, error) => {
    resultOf(test).failed.push({ title: test.fullTitle(), message: inALine(error?.message) });
  });
  // A hook skips several tests for one reason.
  let reason;
  runner.on('pending', (test) => {
    reason = takeReason() ?? reason;
    resultOf(test).skipped.push({ title: test.fullTitle(), reason: reason ?? 'no reason given' });
  });
  for (const event of ['test end', 'hook end']) {
    runner.on(event, (test) => {
      const now = performance.now();
      resultOf(test).seconds += (now - last) / 1_000;
      last = now;
      const { user, system } = cpuUsage(used);
      resultOf(test).processor += (user + system) / 1_000_000;
      used = cpuUsage();
    });
  }
  await new Promise((resolve) => runner.once('end', resolve));
  return results;
}

/** Processor time in seconds of this process and of those that it started and that have ended: see proc_pid_stat(5). */
export function processorSeconds() {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

/** Whether a test may be skipped in a run that requires all tests, or none is required. */
export const mayBeSkipped = ({ title }) =>
  process.env.VAKT_REQUIRE_ALL !== '1' || (!process.env.VAKT_PUBLISHED_SCHEMAS && /published schema/i.test(title));
