import { usesCodeCache } from '../../base/code-cache.ts';
import { note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'code cache';

/** Whether this command, which starts as the agent does, was started by V8's code cache. */
export const codeCache: Check = {
  name: NAME,
  run() {
    const isUsed = usesCodeCache();
    if (isUsed === undefined) return []; // a clone has none
    if (isUsed) return [ok(NAME, 'starts are fast by it')];
    const what = 'none that fits this Node and this processor: a start takes a third longer';
    return [note(NAME, what, 'As root, run: vakt make-code-cache')];
  },
};
