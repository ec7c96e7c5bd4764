import { join } from 'node:path';
import { describeLimits, type Limits, largestCache, limitsInForce } from '../../../core/twin/limits.ts';
import { collectors } from '../../collectors/index.ts';
import type { LocalSettings } from '../../config/local.ts';
import { ok } from './finding.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const NAME = 'limits';

/** The limits of the local file for the module twin; unknown event names in them are a finding. */
export const limits: Check = {
  name: NAME,
  run({ local }) {
    return [ok(NAME, `for the module twin: ${describeLimits(limitsOf(local), local.limits.messageUnitsPerDay)}`)];
  },
};

/** @throws {AgentError} CONFIG_INVALID for a name that is not an event's */
function limitsOf({ limits: local, stateDirectory }: LocalSettings): Limits {
  const ceiling = () => largestCache(existingPart(stateDirectory), join(stateDirectory, 'queues'));
  return limitsInForce(local, collectors, ceiling);
}
