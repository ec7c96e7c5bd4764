import { systemClock } from '../base/clock.ts';
import { askControlSocket, isNobodyThere } from '../base/control-socket.ts';
import { AgentError, errnoOf } from '../base/errors.ts';
import { DEFAULT_CONFIG_FILE, readLocalSettings } from '../config/local.ts';
import { AuditControl } from '../linux/audit/control.ts';
import { isWithoutAudit, removeLeftovers } from '../linux/audit/leftover-rules.ts';
import { NETLINK_AUDIT, openNetlink } from '../linux/native/netlink/socket.ts';
import { readArguments, type World } from './command.ts';

export const summary = "Remove the audit rules of an agent that was killed and won't run again.";
export const usage = `vakt remove-rules [--config FILE]

  --config FILE   local configuration; ${DEFAULT_CONFIG_FILE} when not given

An agent that stops removes its rules itself, and one that starts those of its predecessor.`;

/** Where an agent may answer, if the configuration doesn't say. */
const DEFAULT_SOCKET = '/run/vakt/control.sock';

export async function run(args: readonly string[], { stdout, environment, signal }: World): Promise<number> {
  const { values } = readArguments(args, { config: { type: 'string' } });
  await refuseWhileOneRuns(controlSocket(values.config, environment), signal);
  try {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    try {
      stdout(`${await removeLeftovers(control)} rules removed.`);
    } finally {
      control.close();
    }
  } catch (error) {
    if (isWithoutAudit(error)) stdout('0 rules removed: this kernel has no audit.');
    else throw refusal(error);
  }
  return 0;
}

/** An installation is also removed when its configuration is broken, or gone. */
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
    if (isNobodyThere(error)) return;
    throw error;
  }
  const what = `an agent runs, and answers at ${path}; it needs its rules`;
  throw new AgentError('AGENT_RUNNING', what, 'Stop it instead: it removes them itself.');
}

const refusal = (error: unknown) =>
  errnoOf(error) === 'EPERM'
    ? new AgentError('AUDIT_UNAVAILABLE', 'the kernel refuses to change its audit rules', 'Run this as root.', {
        cause: error,
      })
    : error;
