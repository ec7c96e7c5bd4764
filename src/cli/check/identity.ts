import { failed, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'identity';

/** The agent's identity, and whether its secret is readable for the agent only. */
export const identity: Check = {
  name: NAME,
  run({ identity: who }) {
    if (!('hostName' in who)) return [failed(NAME, who)];
    return [ok(NAME, `${who.deviceId}/${who.moduleId} at ${who.hostName}, by ${who.kind}`)];
  },
};
