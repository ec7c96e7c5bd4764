import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { note, ok } from './finding.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const NAME = 'control socket';

/** Whether `vakt status` would have somebody to ask. The agent does its work without it. */
export const controlSocket: Check = {
  name: NAME,
  run({ local: { controlSocket: path }, agent }) {
    if (agent.status !== undefined) return [ok(NAME, `the agent answers at ${path}`)];
    if (agent.doubt !== undefined) return []; // told already
    const folder = existingPart(dirname(path));
    try {
      accessSync(folder, constants.W_OK | constants.X_OK);
      return [ok(NAME, `can be made at ${path}`)];
    } catch (error) {
      const what = `can't be made at ${path}: ${folder} is not writable (${errnoOf(error) ?? messageOf(error)})`;
      return [note(NAME, what, `"vakt status" won't work: make ${dirname(path)} for the agent, or set controlSocket.`)];
    }
  },
};
