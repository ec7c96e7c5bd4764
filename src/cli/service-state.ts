import { AgentError } from '../base/errors.ts';
import { type ServiceUnit, UNIT } from '../linux/self/service-unit.ts';

/** What systemd says of an agent that doesn't answer. */
export interface ServiceState {
  /** Whether somebody must act: it has failed, or fails again and again. */
  readonly isBroken: boolean;
  readonly what: string;
  readonly remedy: string;
}

const LOG = `journalctl -u ${UNIT} -p warning -n 20`;

export function explainService(unit: ServiceUnit): ServiceState {
  const { LoadState, ActiveState, SubState, Result, StatusText, ExecMainStatus, NRestarts, UnitFileState } = unit;
  // An agent that ends for an error leaves it in its status text; what a running one said last explains nothing.
  const said = /\([A-Z_]+\)$/.test(StatusText) ? `: ${StatusText}` : '';
  if (LoadState === 'masked') {
    const remedy = `Run: systemctl unmask ${UNIT} && systemctl start ${UNIT}`;
    return { isBroken: false, what: `the service ${UNIT} is masked`, remedy };
  }
  if (ActiveState === 'failed') {
    const why = Result === 'exit-code' ? `exit status ${ExecMainStatus}` : Result;
    const remedy = `Mend that${said === '' ? ` (see: ${LOG})` : ''}, then run: systemctl start ${UNIT}`;
    return { isBroken: true, what: `the service ${UNIT} has failed (${why})${said}`, remedy };
  }
  if (ActiveState === 'activating' && SubState.startsWith('auto-restart')) {
    const what = `the service ${UNIT} ended with status ${ExecMainStatus} (${Result}) and is being restarted, the ${NRestarts}th time${said}`;
    return { isBroken: true, what, remedy: `See why it ends: ${LOG}` };
  }
  if (ActiveState === 'inactive') {
    const isEnabled = UnitFileState === 'enabled' || UnitFileState === 'enabled-runtime';
    const remedy = isEnabled
      ? `Run: systemctl start ${UNIT}`
      : `Run: systemctl start ${UNIT} (and to have it start at each boot: systemctl enable ${UNIT})`;
    return { isBroken: false, what: `the service ${UNIT} is stopped`, remedy };
  }
  const what = `the service ${UNIT} is ${ActiveState} (${SubState}), but no agent answers there`;
  const remedy = `Wait a moment; if it stays so, name its configuration with --config FILE, or see: ${LOG}`;
  return { isBroken: false, what, remedy };
}

/** An unanswered question, with what systemd knows of it. */
export function withService(error: AgentError, unit: ServiceUnit | undefined): AgentError {
  if (unit === undefined) return error;
  const { what, remedy } = explainService(unit);
  return new AgentError('AGENT_NOT_RUNNING', `${error.message}; ${what}`, remedy, { cause: error.cause });
}
