import { usesCodeCache } from '../../../core/base/code-cache.ts';
import { note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'code cache';

/** Whether this command, which starts as the agent does, was started by V8's code cache. */
export const codeCache: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run() {
    const isUsed = usesCodeCache();
    if (isUsed === undefined) return []; // a clone has none
    if (isUsed) return [ok(NAME, 'in use: a start takes a quarter less time')];
    const problem = 'none that fits this Node and this processor: a start takes a third longer';
    const remedy =
      'Run as root, where the program can be written: vakt make-code-cache. For a container, build the image on such a processor.';
    return [note(NAME, problem, remedy)];
  },
};
