import { join } from 'node:path';
import { collectors } from '../../collectors/index.ts';
import { describeLimits, largestCache, limitsInForce } from '../../config/limits.ts';
import { ok } from './finding.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const NAME = 'limits';

/** The limits of the local file for the module twin; unknown event names in them are a finding. */
export const limits: Check = {
  name: NAME,
  run({ local }) {
    const directory = existingPart(local.stateDirectory);
    const ceiling = () => largestCache(directory, join(local.stateDirectory, 'queues'));
    const inForce = limitsInForce(local.limits, collectors, ceiling);
    return [ok(NAME, `for the module twin: ${describeLimits(inForce, local.limits.messageUnitsPerDay)}`)];
  },
};
