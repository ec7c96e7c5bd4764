import { join } from 'node:path';
import fc from 'fast-check';
import Mocha from 'mocha';

/** Outside of a release, fast-check generates few cases, the same in every run, so that a change can't fail by chance. */
const SAME_CASES = { seed: 20_260_101, numRuns: 10 };

/**
 * Makes this process a test run, and loads tests into it.
 *
 * @param files paths of compiled tests below `dist/test` of the working directory
 * @param beforeEach a hook that precedes those of the tests
 */
export async function loadTests(files, { beforeEach } = {}) {
  const { endLeftProcesses, markTestRun } = await import('../dist/test/harness/test-run.js');
  await endLeftProcesses();
  markTestRun();
  // By default, arrays and strings have at most 10 elements, even if their maxLength is greater.
  fc.configureGlobal({
    ...fc.readConfigureGlobal(),
    ...(process.env.VAKT_RELEASE === '1' ? {} : SAME_CASES),
    defaultSizeToMaxWhenMaxSpecified: true,
  });
  // Some tests compute for ten seconds where five processes share two cores.
  const mocha = new Mocha({ timeout: 120_000, forbidOnly: true, reporter: 'spec' });
  if (beforeEach !== undefined) mocha.suite.beforeEach(beforeEach);
  for (const file of files) mocha.addFile(join('dist/test', file));
  await mocha.loadFilesAsync();
  return mocha;
}
