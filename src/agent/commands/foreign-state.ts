import { type Stats, statSync } from 'node:fs';
import { AgentError } from '../../core/base/errors.ts';
import { readPlainFile } from '../../core/base/plain-file.ts';
import { shellWord } from '../../core/base/text.ts';
import type { LocalSettings } from '../config/local.ts';
import { askServiceUnit, type ServiceUnit, UNIT } from '../linux/self/service-unit.ts';

/** The capabilities that the systemd unit grants, too. */
const CAPABILITIES = ['audit_control', 'audit_read', 'net_admin', 'dac_read_search', 'sys_ptrace'];
const MAX_PASSWD_BYTES = 1024 * 1024;

interface Call {
  /** `undefined` for the default. */
  readonly configFile: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Refuses to run the agent as root with another user's state directory: that user could not write the files that root
 * creates there, and the service would fail.
 *
 * @throws AgentError STATE_DIRECTORY_UNUSABLE with the command to use instead
 */
export async function refuseForeignState(...args: Parameters<typeof foreignState>): Promise<void> {
  const error = await foreignState(...args);
  if (error !== undefined) throw error;
}

/** The remedy for an agent that does not run: a command that this user may run to start it. */
export async function startRemedy(...args: Parameters<typeof foreignState>): Promise<string> {
  const [, { configFile }] = args;
  return (await foreignState(...args))?.remedy ?? `Start it: ${runCommand(configFile)}`;
}

async function foreignState(
  { stateDirectory }: Pick<LocalSettings, 'stateDirectory'>,
  { configFile, signal }: Call,
  { uid = process.geteuid?.(), unit = askServiceUnit }: { uid?: number; unit?: typeof askServiceUnit } = {},
): Promise<AgentError | undefined> {
  const owner = uid === 0 ? ownerOf(stateDirectory) : undefined;
  if (owner === undefined || owner.uid === 0) return undefined;
  const name = nameOf(owner.uid);
  const ownerText = name === undefined ? `user ${owner.uid}` : `the user ${name}`;
  const problem = `${stateDirectory} belongs to ${ownerText}, who could not write the files that root would create there`;
  const remedy = remedyFor(owner, { name, ownerText }, { configFile, unit: await unit(signal) });
  return new AgentError('STATE_DIRECTORY_UNUSABLE', problem, remedy);
}

/** `undefined` if it cannot be read, such as below a file: `useStateDirectory` reports that. */
function ownerOf(directory: string): Stats | undefined {
  try {
    return statSync(directory, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function remedyFor(
  { uid, gid }: { uid: number; gid: number },
  { name, ownerText }: { name: string | undefined; ownerText: string },
  { configFile, unit }: { configFile: string | undefined; unit: ServiceUnit | undefined },
): string {
  const isServices = unit !== undefined && unit.User !== '' && [name, String(uid)].includes(unit.User);
  if (isServices && configFile === undefined) return `Run the service instead: systemctl start ${UNIT}`;
  const capabilities = CAPABILITIES.map((capability) => `+${capability}`).join(',');
  const prefix = `setpriv --reuid=${uid} --regid=${gid} --clear-groups --inh-caps=${capabilities} --ambient-caps=${capabilities}`;
  return `Run the agent as ${ownerText}: ${prefix} ${runCommand(configFile)}`;
}

const runCommand = (configFile: string | undefined): string =>
  `vakt run${configFile === undefined ? '' : ` --config ${shellWord(configFile)}`}`;

function nameOf(uid: number): string | undefined {
  try {
    const lines = readPlainFile('/etc/passwd', MAX_PASSWD_BYTES).split('\n');
    return lines.map((line) => line.split(':')).find(([, , id]) => id === String(uid))?.[0];
  } catch {
    return undefined;
  }
}
