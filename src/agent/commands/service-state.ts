import { AgentError } from '../../core/base/errors.ts';
import { type ServiceUnit, UNIT } from '../linux/self/service-unit.ts';

/** The state of the systemd service of an agent that doesn't answer. */
export interface ServiceState {
  /** It has failed, or fails again and again: the operator must act. */
  readonly isBroken: boolean;
  readonly problem: string;
  readonly remedy: string;
}

const LOG = `journalctl -u ${UNIT} -p warning -n 20`;

export function explainService(unit: ServiceUnit): ServiceState {
  const { LoadState, ActiveState, SubState, Result, StatusText, ExecMainStatus, NRestarts, UnitFileState } = unit;
  // An agent that exits with an error sets the status text to the error, with its id. Other status text is ignored.
  const statusText = /\([A-Z_]+\)$/.test(StatusText) ? `: ${StatusText}` : '';
  if (LoadState === 'masked') {
    const remedy = `Run: systemctl unmask ${UNIT} && systemctl start ${UNIT}`;
    return { isBroken: false, problem: `the service ${UNIT} is masked`, remedy };
  }
  if (ActiveState === 'failed') {
    const why = Result === 'exit-code' ? `exit status ${ExecMainStatus}` : Result;
    const remedy = `Fix that${statusText === '' ? ` (see: ${LOG})` : ''}, then run: systemctl start ${UNIT}`;
    return { isBroken: true, problem: `the service ${UNIT} has failed (${why})${statusText}`, remedy };
  }
  if (ActiveState === 'activating' && SubState.startsWith('auto-restart')) {
    const problem = `the service ${UNIT} exited with status ${ExecMainStatus} (${Result}) and is being restarted, restart number ${NRestarts}${statusText}`;
    return { isBroken: true, problem, remedy: `Find out why it exits: ${LOG}` };
  }
  if (ActiveState === 'inactive') {
    const isEnabled = UnitFileState === 'enabled' || UnitFileState === 'enabled-runtime';
    const remedy = isEnabled
      ? `Run: systemctl start ${UNIT}`
      : `Run: systemctl start ${UNIT} (and to start it at each boot: systemctl enable ${UNIT})`;
    return { isBroken: false, problem: `the service ${UNIT} is stopped`, remedy };
  }
  const problem = `the service ${UNIT} is ${ActiveState} (${SubState}), but no agent answers`;
  const remedy = `Wait a moment. If that does not help, name its configuration with --config FILE, or see: ${LOG}`;
  return { isBroken: false, problem, remedy };
}

/** Adds the state of the systemd service to an AGENT_NOT_RUNNING error. */
export function withService(error: AgentError, unit: ServiceUnit | undefined): AgentError {
  if (unit === undefined) return error;
  const { problem, remedy } = explainService(unit);
  return new AgentError('AGENT_NOT_RUNNING', `${error.message}; ${problem}`, remedy, { cause: error.cause });
}
