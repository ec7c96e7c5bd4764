import { systemClock } from '../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../core/base/control-socket.ts';
import { AgentError, errnoOf } from '../../core/base/errors.ts';
import { counted } from '../../core/base/text.ts';
import { readArguments, type World } from '../../core/command-line/command.ts';
import { DEFAULT_CONFIG_FILE, readLocalSettings } from '../config/local.ts';
import { AuditControl } from '../linux/audit/control.ts';
import { isWithoutAudit, removeLeftovers } from '../linux/audit/leftover-rules.ts';
import { NETLINK_AUDIT, openNetlink } from '../linux/native/netlink/socket.ts';
import { runsOwnProgram } from '../linux/self/service-unit.ts';

export const summary = 'Remove audit rules that a killed agent left in the kernel.';
export const usage = `vakt remove-rules [--config FILE]

  --config FILE   local configuration; default ${DEFAULT_CONFIG_FILE}

Only needed if the agent will not be started again: an agent removes its rules when it stops, and those of a killed
predecessor when it starts.`;

/** Used if the configuration can't be read. */
const DEFAULT_SOCKET = '/run/vakt/control.sock';

export async function run(args: readonly string[], { stdout, environment, signal }: World): Promise<number> {
  const { values } = readArguments(args, { config: { type: 'string' } });
  await refuseWhileOneRuns(controlSocket(values.config, environment), signal);
  try {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    try {
      const { pid } = await control.status();
      if (runsOwnProgram(pid)) throw needsRules(`process ${pid} is an agent, or a command of Vakt, which reads audit`);
      stdout(`${counted(await removeLeftovers(control), 'rule')} removed.`);
    } finally {
      control.close();
    }
  } catch (error) {
    if (isWithoutAudit(error)) stdout('0 rules removed: this kernel has no audit.');
    else throw refusal(error);
  }
  return 0;
}

/** Tolerates a missing or invalid configuration: the command is used to uninstall the agent. */
function controlSocket(file: string | undefined, environment: NodeJS.ProcessEnv): string {
  try {
    return readLocalSettings(file, environment).controlSocket;
  } catch {
    return DEFAULT_SOCKET;
  }
}

async function refuseWhileOneRuns(path: string, signal: AbortSignal): Promise<void> {
  try {
    await askControlSocket(path, '/status', { signal });
  } catch (error) {
    if (isNoAgentListening(error)) return;
    throw error;
  }
  throw needsRules(`an agent is running, answers at ${path}`);
}

const needsRules = (who: string) =>
  new AgentError('AGENT_RUNNING', `${who}, and needs its rules`, 'Stop the agent instead: it then removes its rules.');

const refusal = (error: unknown) => {
  if (errnoOf(error) !== 'EPERM') return error;
  const remedy = 'Use: sudo vakt remove-rules';
  return new AgentError('AUDIT_UNAVAILABLE', 'the kernel refuses to change its audit rules', remedy, { cause: error });
};
