import { failed, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'identity';

/** Who the agent is, and that its secret can be read and nobody else can. */
export const identity: Check = {
  name: NAME,
  run({ identity: who }) {
    if (!('hostName' in who)) return [failed(NAME, who)];
    return [ok(NAME, `${who.deviceId}/${who.moduleId} at ${who.hostName}, by ${who.kind}`)];
  },
};
