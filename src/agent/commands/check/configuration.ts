import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { shellWord } from '../../../core/base/text.ts';
import { describeLimits, type Limits, largestCache, limitsInForce } from '../../../core/twin/limits.ts';
import { collectors } from '../../collectors/index.ts';
import { type LocalSettings, refuseExampleHub } from '../../config/local.ts';
import { note, ok, wrong } from './finding.ts';
import { processOf, userOf } from './process.ts';
import { exposedFolder, octal, othersCanWrite } from './secrets.ts';
import type { Check } from './situation.ts';
import { existingPart } from './state-directory.ts';

const CONFIGURATION = 'configuration';

/** Who can change the configuration file. Its content was validated before the checks run. */
export const configuration: Check = {
  name: CONFIGURATION,
  run({ configFile, local, agent }) {
    refuseExampleHub(local, configFile);
    if (!existsSync(configFile)) return [ok(CONFIGURATION, 'comes from environment variables only, and is valid')];
    const stats = statSync(configFile);
    if (othersCanWrite(stats)) {
      const problem = `other users can write to ${configFile} (mode ${octal(stats.mode)}) and disable the agent`;
      return [wrong(CONFIGURATION, problem, `Run: chmod go-w ${shellWord(configFile)}`)];
    }
    const exposed = exposedFolder(dirname(configFile), agent);
    if (exposed !== undefined)
      return [wrong(CONFIGURATION, `${exposed.problem}, ${configFile} among them`, exposed.remedy)];
    if (stats.uid !== 0 && stats.uid !== userOf(processOf(agent))) {
      const problem = `${configFile} is valid; it belongs to user ${stats.uid}, who can change it`;
      return [note(CONFIGURATION, problem, `Unless that is intended, run: chown root ${shellWord(configFile)}`)];
    }
    return [ok(CONFIGURATION, `${configFile} is valid`)];
  },
};

const LIMITS = 'limits';

/** The limits of the local file for the module twin; unknown event names in them are a finding. */
export const limits: Check = {
  name: LIMITS,
  run({ local }) {
    return [ok(LIMITS, `for the module twin: ${describeLimits(limitsOf(local), local.limits.messageUnitsPerDay)}`)];
  },
};

/** @throws {AgentError} CONFIG_INVALID for a name that is not an event's */
function limitsOf({ limits: local, stateDirectory }: LocalSettings): Limits {
  const ceiling = () => largestCache(existingPart(stateDirectory), join(stateDirectory, 'queues'));
  return limitsInForce(local, collectors, ceiling);
}

const ROUTING = 'message routing';

export const routing: Check = {
  name: ROUTING,
  run({ local: { messageRouting } }) {
    if (messageRouting === 'telemetry')
      return [ok(ROUTING, "messages go to your own routes, by the condition messageType = 'SecurityEvents'")];
    if (messageRouting === 'both')
      return [
        ok(
          ROUTING,
          "messages go to your own routes, by the condition messageType = 'SecurityEvents', and copies without SecurityAlert to Microsoft's security service",
        ),
      ];
    return [
      note(
        ROUTING,
        "messages are marked for Microsoft's security service, and the hub does not pass them to your own routes; alerts are sent as Diagnostic events only. As of 2026-12-01, Microsoft plans to retire the agent that it was made for on 2027-06-01: the messages may be discarded",
        'Set messageRouting to "telemetry" (or "both") and add a route with the condition messageType = \'SecurityEvents\'.',
      ),
    ];
  },
};
