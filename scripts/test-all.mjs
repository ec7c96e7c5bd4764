import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { TOP } from './set-up.mjs';
import { lockAudit, usesAudit, WAITS, withoutAudit } from './test-files.mjs';
import { mayBeSkipped } from './test-results.mjs';

/** These wait longest, and begin first. */
const WAITS_LONG =
  /^(?:harness\/|integration\/(?:identity-|networks|secrets|outage|agent)|system\/(?:small-disk|frozen-disk))/;
/** Groups of files that only compute: a process takes half a second to start. */
const GROUPS = 8;
/** Processes besides the one with audit: those that compute first, and those that mostly wait from the beginning. */
const [COMPUTING_LANES, WAITING_LANES] = [2, 3];
/** Depend on the machine and its load: one failure may be chance. */
const ON_THE_MACHINE = /^(?:harness|integration|system)\//;
/** If more files have failed, it isn't by chance. */
const MOST_REPEATED = 5;
/** How many of the slowest files are listed. */
const SLOWEST = 24;

/**
 * Runs tests in parallel processes, and prints a line for each process that has exited, with the output of those that failed.
 * The kernel has one audit, so tests that use it run one after another, and the others without the capabilities for it.
 *
 * The slow tests are not started once tests that only compute have failed. A file that starts agents or asks the kernel, and
 * failed, is run once more, alone, at the end: only what fails twice is a failure.
 *
 * @param files compiled tests, below dist/test
 * @param options.keepGoing whether slow tests are started in any case
 * @returns whether all tests have passed
 */
export async function runAll(files, { keepGoing }) {
  const { computing, waiting, audit } = jobsOf(files);
  const progress = new Progress(computing.length + waiting.length + audit.length);
  const results = {};
  const stopped = () =>
    !keepGoing && Object.entries(results).some(([file, { failed }]) => !WAITS.test(file) && failed.length > 0);
  const lane = async (jobs, options) => {
    for (let job = jobs.shift(); job !== undefined && !stopped(); job = jobs.shift()) {
      Object.assign(results, await runJob(job, { ...options, progress }));
    }
  };
  const lanes = [
    ...Array.from({ length: COMPUTING_LANES }, () => lane(computing).then(() => lane(waiting))),
    ...Array.from({ length: WAITING_LANES }, () => lane(waiting)),
  ];
  const withAudit = async () => {
    const release = await lockAudit();
    await lane(audit, { usesAudit: true });
    return release;
  };
  const [release] = await Promise.all([withAudit(), ...lanes]);
  const flaky = stopped() ? [] : await repeat(results, progress);
  release();

  const notRun = [...computing, ...waiting, ...audit].flat();
  report(results, { flaky, notRun });
  return Object.values(results).every(({ failed }) => failed.length === 0) && notRun.length === 0;
}

/** The result of a file without tests. */
const NOTHING = { passed: 0, failed: [], skipped: [], seconds: 0, processor: 0 };

/** Runs each failed file that depends on the machine alone. @returns the failures that did not repeat, as lines; `results` has the others */
async function repeat(results, progress) {
  const again = Object.keys(results).filter((file) => ON_THE_MACHINE.test(file) && results[file].failed.length > 0);
  if (again.length > MOST_REPEATED) return [];
  const flaky = [];
  progress.jobs += again.length;
  for (const file of again) {
    const { [file]: second = NOTHING } = await runJob([file], { usesAudit: usesAudit(file), progress });
    const still = second.failed.map(({ title }) => title);
    flaky.push(
      ...results[file].failed.filter(({ title }) => !still.includes(title)).map((failure) => lineOf(file, failure)),
    );
    results[file] = second;
  }
  return flaky;
}

const sourceOf = (file) => `test/${file.replace(/\.js$/, '.ts')}`;
const lineOf = (file, { title, message }) => `${sourceOf(file)}, ${title}: ${message}`;

/** Prints the summary: first what failed, last the number of tests. */
function report(results, { flaky, notRun }) {
  const files = Object.entries(results);
  for (const { failed, skipped } of Object.values(results)) {
    const required = skipped.filter((skip) => !mayBeSkipped(skip));
    failed.push(...required.map(({ title, reason }) => ({ title, message: `skipped, but required: ${reason}` })));
  }
  for (const [file, { failed }] of files) {
    for (const failure of failed) console.log(`Failed: ${lineOf(file, failure)}`);
    if (failed.length > 0) console.log(`Repeat: npm test -- ${sourceOf(file)}`);
  }
  if (notRun.length > 0) console.log(`Failed: ${notRun.length} files of tests were not run, because of these failures`);
  for (const line of flaky) console.log(`Flaky: ${line}`);
  const reasons = new Map();
  for (const [file, { skipped }] of files) {
    for (const { reason } of skipped) {
      const key = `${sourceOf(file)}: ${reason}`;
      reasons.set(key, (reasons.get(key) ?? 0) + 1);
    }
  }
  for (const [key, count] of reasons) console.log(`Skipped: ${count} of ${key}`);
  const most = (of) =>
    files
      .sort(([, one], [, other]) => other[of] - one[of])
      .slice(0, SLOWEST)
      .map(([file, result]) => `${file.replace(/\.test\.js$/, '')} ${Math.round(result[of])} s`)
      .join(', ');
  console.log(`Slowest: ${most('seconds')}`);
  console.log(`Busiest, without their child processes: ${most('processor')}`);
  const sum = (count) => files.reduce((all, [, result]) => all + count(result), 0);
  console.log(`${sum(({ passed }) => passed)} passed, ${sum(({ failed }) => failed.length)} failed`);
}

/** The files of each process, those first that should begin first. */
function jobsOf(files) {
  const audit = files.filter(usesAudit);
  const others = files.filter((file) => !audit.includes(file));
  const waiting = others.filter((file) => WAITS.test(file));
  const computing = others.filter((file) => !WAITS.test(file));
  const groups = Array.from({ length: GROUPS }, (_, group) => computing.filter((_, index) => index % GROUPS === group));
  const inOrder = [true, false].flatMap((isLong) => waiting.filter((file) => WAITS_LONG.test(file) === isLong));
  return {
    computing: groups.filter((group) => group.length > 0),
    waiting: inOrder.map((file) => [file]),
    audit: audit.map((file) => [file]),
  };
}

/** Runs tests in a process of their own. @returns the result of each file */
async function runJob(files, { usesAudit = false, progress }) {
  const began = performance.now();
  const test = [process.execPath, join(TOP, 'scripts/test.mjs'), '--files', ...files];
  const [program, ...args] = usesAudit ? test : [...withoutAudit(), ...test];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let results;
  let processor = 0;
  child.on('message', (message) => {
    ({ results, processor } = message);
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const [status, signal] = await once(child, 'close');
  // All of the process's files: which one it was is unknown.
  const ended = { title: 'the process', message: `ended by ${signal ?? `status ${status}`} before its tests did` };
  results ??= Object.fromEntries(files.map((file) => [file, { ...NOTHING, failed: [ended] }]));
  progress.ended(files, { results, seconds: (performance.now() - began) / 1_000, processor, output });
  return results;
}

/** The lines that are printed while tests run. */
class Progress {
  jobs;
  #began = performance.now();
  #ended = 0;
  #passed = 0;
  #failed = 0;

  constructor(jobs) {
    this.jobs = jobs;
  }

  ended(files, { results, seconds, processor, output }) {
    const all = Object.values(results);
    const failed = all.flatMap((result) => result.failed).length;
    if (failed > 0) process.stdout.write(output);
    this.#ended += 1;
    this.#passed += all.reduce((sum, { passed }) => sum + passed, 0);
    this.#failed += failed;
    const elapsed = Math.round((performance.now() - this.#began) / 1_000);
    const clock = `${Math.floor(elapsed / 60)}:${String(elapsed % 60).padStart(2, '0')}`;
    const what = files.length === 1 ? files[0].replace(/\.test\.js$/, '') : `${files.length} files that only compute`;
    const state = failed > 0 ? `${failed} FAILED` : 'ok';
    console.log(
      `${clock}  ${this.#ended}/${this.jobs}  ${this.#passed} passed, ${this.#failed} failed  ${what}: ${state} (${seconds.toFixed(0)} s, ${processor.toFixed(0)} s CPU)`,
    );
  }
}
