import { systemClock } from '../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../core/base/control-socket.ts';
import { printableJson } from '../../core/base/text.ts';
import { readArguments, severityOption, type World } from '../../core/command-line/command.ts';
import { RECOMMENDATION_IDS, type RecommendationId, SEVERITIES, type Severity } from '../posture/recommendation.ts';
import type { LocalStatus } from '../status/schema.ts';
import { settingsOrDefaults } from './local-settings.ts';
import { ownPosture, type ShownPosture } from './posture/own.ts';
import { describePosture } from './posture/text.ts';
import { understood } from './understood.ts';

export const summary = 'Show how exposed this system is, and what to do about it.';
export const usage = `vakt posture [--config FILE] [--json] [--fail-on SEVERITY]

Shows the recommendations of the running agent. Without one, takes its own snapshots and assesses these; run it as root, so
that it can read all. Changes nothing, and sends nothing.

  --config FILE       the running agent's configuration
  --json              print the posture as one JSON object
  --fail-on SEVERITY  ${SEVERITIES.join(', ')} or never; default High

Exit status: 0 success; 1 a recommendation of severity --fail-on or above is in force, or one that can be as severe could
not be assessed from the snapshots; 2 wrong usage.`;

/** The highest severity that a recommendation from snapshots can have. The others depend on a running agent. */
const HIGHEST: Readonly<Partial<Record<RecommendationId, Severity>>> = {
  accountWithoutPassword: 'Critical',
  secondRootAccount: 'High',
  baselineFailed: 'Critical',
  permissiveFirewallPolicy: 'Medium',
  permissiveFirewallRule: 'Medium',
  openPorts: 'Medium',
};

export async function run(args: readonly string[], world: World): Promise<number> {
  const options = { config: { type: 'string' }, json: { type: 'boolean' }, 'fail-on': { type: 'string' } } as const;
  const { values } = readArguments(args, options);
  const failOn = severityOption(values['fail-on'] ?? 'High', SEVERITIES);
  const { hostRoot, controlSocket } = settingsOrDefaults(values.config, world.environment);
  const shown = await ofAgent(controlSocket, world).catch((error) => {
    if (!isNoAgentListening(error)) throw error;
    return ownPosture(hostRoot, world.signal);
  });
  if (values.json) world.stdout(printableJson(JSON.stringify(shown, null, 2)));
  else for (const line of describePosture(shown, world.columns)) world.stdout(line);
  return failOn !== undefined && isAtLeast(shown, failOn) ? 1 : 0;
}

async function ofAgent(controlSocket: string, { signal }: World): Promise<ShownPosture> {
  const status = (await askControlSocket(controlSocket, '/status', { signal })) as LocalStatus;
  return understood(status, controlSocket, ({ posture }) => {
    const shown: ShownPosture = { source: 'agent', at: systemClock.now().toISOString(), posture };
    describePosture(shown); // throws if the posture is invalid
    return shown;
  });
}

function isAtLeast({ posture: { recommendations = {}, notJudged = {} } }: ShownPosture, least: Severity): boolean {
  const reaches = (severity: Severity | undefined) =>
    severity !== undefined && SEVERITIES.indexOf(severity) <= SEVERITIES.indexOf(least);
  return RECOMMENDATION_IDS.some(
    (id) => reaches(recommendations[id]?.severity) || (notJudged[id] !== undefined && reaches(HIGHEST[id])),
  );
}
