import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ofTest: string[] = [];
const ofSuite: string[] = [];

/**
 * An empty folder for the running test, to be made in the test or in its `beforeEach`. It is removed after the test's own
 * `afterEach` hooks. Only this user can look into it.
 *
 * @returns its path, without symbolic links
 */
export const temporaryFolder = (): string => make(ofTest);

/** The same for all tests of a suite, to be made in `before` or outside of tests. It is removed at the end of the run. */
export const suiteFolder = (): string => make(ofSuite);

function make(folders: string[]): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'vakt-test-'));
  folders.push(folder);
  return folder;
}

function remove(folders: string[]): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

if (typeof afterEach === 'function') {
  // Hooks of the root suite; the hooks of a test file run before them.
  afterEach(() => remove(ofTest));
  after(() => remove(ofSuite));
} else {
  // A script that uses helpers of tests, without Mocha.
  process.once('exit', () => remove([...ofTest, ...ofSuite]));
}
