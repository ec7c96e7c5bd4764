import { explainService } from '../service-state.ts';
import { type Finding, failed, note, ok, wrong } from './finding.ts';
import type { Check, RunningAgent } from './situation.ts';

const NAME = 'running agent';
const AS_THIS_USER = 'none; all checks run as this user';
const TO_USE_THE_FILE =
  'If nothing is WRONG, put the file in its place, unless it is already there, and restart the agent: systemctl restart vakt';

export const runningAgent: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run({ agent, configFile }) {
    const { status, statusByThisFile, statusError, unit } = agent;
    if (statusError?.id === 'CONFIG_INVALID') return [failed(NAME, statusError)];
    if (statusError !== undefined)
      return [note(NAME, `its status can't be read: ${statusError.message}`, statusError.remedy)];
    if (unit !== undefined) return [describeUnit(unit)];
    if (status === undefined) return [note(NAME, AS_THIS_USER, 'Start it: vakt run')];
    const problem = `${status.state}, version ${status.version}; its status is used for the checks below`;
    if (statusByThisFile === undefined)
      return [
        note(NAME, `${problem}, but it was started by another configuration than ${configFile}`, TO_USE_THE_FILE),
      ];
    if (status.state === 'running') return [ok(NAME, problem)];
    return [note(NAME, problem, 'For the reason, see the findings below, or run: vakt status')];
  },
};

function describeUnit(unit: NonNullable<RunningAgent['unit']>): Finding {
  const { isBroken, problem, remedy } = explainService(unit);
  const finding = `${AS_THIS_USER}; ${problem}`;
  return isBroken ? wrong(NAME, `${finding} (AGENT_NOT_RUNNING)`, remedy) : note(NAME, finding, remedy);
}
