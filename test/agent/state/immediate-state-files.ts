import { rmSync } from 'node:fs';
import type { Done, StateFiles } from '../../../src/agent/state/state-files.ts';
import { writeFileAtomic } from '../../../src/core/base/atomic-file.ts';

/** Changes files synchronously. */
export const immediateStateFiles: StateFiles = {
  replace: (path, contents, done) => attempt(() => writeFileAtomic(path, contents), done),
  remove: (path, done) => attempt(() => rmSync(path, { force: true }), done),
  settled: async () => {},
};

function attempt(change: () => void, done: Done): void {
  try {
    change();
  } catch (error) {
    done(error ?? new Error('unknown'));
    return;
  }
  done(undefined);
}
