import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { DEFAULT_CONFIG_FILE } from '../../config/local.ts';
import { startRemedy } from '../foreign-state.ts';
import { explainService } from '../service-state.ts';
import { type Finding, failed, note, ok, warn, wrong } from './finding.ts';
import type { Check, RunningAgent } from './situation.ts';
import { existingPart } from './state-directory.ts';

const RUNNING_AGENT = 'running agent';
const AS_THIS_USER = 'none; all checks run as this user';
const TO_USE_THE_FILE =
  'If nothing is WRONG, put the file in its place, unless it is already there, and restart the agent: systemctl restart vakt';

export const runningAgent: Check = {
  name: RUNNING_AGENT,
  worksWithoutConfiguration: true,
  async run({ agent, configFile, local, signal }) {
    const { status, statusByThisFile, statusError, unit } = agent;
    if (statusError?.id === 'CONFIG_INVALID') return [failed(RUNNING_AGENT, statusError)];
    if (statusError !== undefined)
      return [note(RUNNING_AGENT, `its status can't be read: ${statusError.message}`, statusError.remedy)];
    if (unit !== undefined) return [describeUnit(unit)];
    if (status === undefined) {
      const file = configFile === DEFAULT_CONFIG_FILE ? undefined : configFile;
      return [note(RUNNING_AGENT, AS_THIS_USER, await startRemedy(local, { configFile: file, signal }))];
    }
    const problem = `${status.state}, version ${status.version}; its status is used for the checks below`;
    if (statusByThisFile === undefined)
      return [
        note(
          RUNNING_AGENT,
          `${problem}, but it was started by another configuration than ${configFile}`,
          TO_USE_THE_FILE,
        ),
      ];
    if (status.state === 'running') return [ok(RUNNING_AGENT, problem)];
    const limited = status.state === 'degraded' ? warn : note;
    return [limited(RUNNING_AGENT, problem, 'For the reason, see the findings below, or run: vakt status')];
  },
};

function describeUnit(unit: NonNullable<RunningAgent['unit']>): Finding {
  const { isBroken, problem, remedy } = explainService(unit);
  const finding = `${AS_THIS_USER}; ${problem}`;
  return isBroken
    ? wrong(RUNNING_AGENT, `${finding} (AGENT_NOT_RUNNING)`, remedy)
    : note(RUNNING_AGENT, finding, remedy);
}

const CONTROL_SOCKET = 'control socket';

/** Whether `vakt status` can reach the agent. The agent works without the socket. */
export const controlSocket: Check = {
  name: CONTROL_SOCKET,
  run({ local: { controlSocket: path }, agent }) {
    if (agent.status !== undefined) return [ok(CONTROL_SOCKET, `the agent answers at ${path}`)];
    if (agent.statusError !== undefined) return []; // reported by runningAgent
    const folder = existingPart(dirname(path));
    try {
      accessSync(folder, constants.W_OK | constants.X_OK);
      return [ok(CONTROL_SOCKET, `can be created at ${path}`)];
    } catch (error) {
      const problem = `can't be created at ${path}: ${folder} is not writable (${errnoOf(error) ?? messageOf(error)})`;
      const remedy = `"vakt status" won't work: create ${dirname(path)}, writable for the agent, or set controlSocket.`;
      return [note(CONTROL_SOCKET, problem, remedy)];
    }
  },
};
