import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { note, ok } from './finding.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const NAME = 'control socket';

/** Whether `vakt status` can reach the agent. The agent works without the socket. */
export const controlSocket: Check = {
  name: NAME,
  run({ local: { controlSocket: path }, agent }) {
    if (agent.status !== undefined) return [ok(NAME, `the agent answers at ${path}`)];
    if (agent.statusError !== undefined) return []; // reported by runningAgent
    const folder = existingPart(dirname(path));
    try {
      accessSync(folder, constants.W_OK | constants.X_OK);
      return [ok(NAME, `can be created at ${path}`)];
    } catch (error) {
      const problem = `can't be created at ${path}: ${folder} is not writable (${errnoOf(error) ?? messageOf(error)})`;
      const remedy = `"vakt status" won't work: create ${dirname(path)}, writable for the agent, or set controlSocket.`;
      return [note(NAME, problem, remedy)];
    }
  },
};
