import { statSync } from 'node:fs';
import { AgentError } from '../base/errors.ts';
import { readPlainFile } from '../base/plain-file.ts';
import { shellWord } from '../base/shell-word.ts';
import type { LocalSettings } from '../config/local.ts';
import { askServiceUnit, type ServiceUnit, UNIT } from '../linux/self/service-unit.ts';

/** What the agent needs to see everything; the unit grants the same. */
const CAPABILITIES = ['audit_control', 'audit_read', 'net_admin', 'dac_read_search', 'sys_ptrace'];
const LARGEST_PASSWD = 1024 * 1024;

/**
 * Keeps root from running the agent on another user's state: what root writes there that user can't write any more, and
 * the service would fail from then on.
 *
 * @throws AgentError STATE_DIRECTORY_UNUSABLE with the command that is right
 */
export async function refuseForeignState(
  { stateDirectory }: Pick<LocalSettings, 'stateDirectory'>,
  { configFile, signal }: { configFile: string | undefined; signal: AbortSignal },
  { uid = process.geteuid?.(), unit = askServiceUnit }: { uid?: number; unit?: typeof askServiceUnit } = {},
): Promise<void> {
  const owner = uid === 0 ? statSync(stateDirectory, { throwIfNoEntry: false }) : undefined;
  if (owner === undefined || owner.uid === 0) return;
  const name = nameOf(owner.uid);
  const whose = name === undefined ? `user ${owner.uid}` : `the user ${name}`;
  const what = `${stateDirectory} belongs to ${whose}, who could not use it any more once root has written there`;
  throw new AgentError('STATE_DIRECTORY_UNUSABLE', what, remedy(owner, name, configFile, await unit(signal)));
}

function remedy(
  { uid, gid }: { uid: number; gid: number },
  name: string | undefined,
  configFile: string | undefined,
  unit: ServiceUnit | undefined,
): string {
  const isServices = unit !== undefined && unit.User !== '' && [name, String(uid)].includes(unit.User);
  if (isServices && configFile === undefined) return `Run the service instead: systemctl start ${UNIT}`;
  const capabilities = CAPABILITIES.map((capability) => `+${capability}`).join(',');
  const become = `setpriv --reuid=${uid} --regid=${gid} --clear-groups --inh-caps=${capabilities} --ambient-caps=${capabilities}`;
  return `Run it as that user: ${become} vakt run${configFile === undefined ? '' : ` --config ${shellWord(configFile)}`}`;
}

function nameOf(uid: number): string | undefined {
  try {
    const lines = readPlainFile('/etc/passwd', LARGEST_PASSWD).split('\n');
    return lines.map((line) => line.split(':')).find(([, , id]) => id === String(uid))?.[0];
  } catch {
    return undefined;
  }
}
