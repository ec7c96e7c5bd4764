import { lstatSync, type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { AgentError } from '../../../core/base/errors.ts';
import { readNamedFile, readPlainFile } from '../../../core/base/plain-file.ts';
import { shellWord } from '../../../core/base/text.ts';
import { credentialFilesOf } from '../../config/local.ts';
import { type Finding, failed, ok, wrong } from './finding.ts';
import { processOf, userOf } from './process.ts';
import { type Check, copiesUsedBy, type RunningAgent } from './situation.ts';

/** Bits of st_mode, see inode(7). */
const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/** The mode as chmod(1) takes it: `0640`. */
export const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0');

/** Whether users other than the owner can change a file, or replace files in a folder. */
export function othersCanWrite(stats: Stats): boolean {
  if ((stats.mode & GROUP_OR_OTHERS_WRITE) === 0) return false;
  return !(stats.isDirectory() && (stats.mode & STICKY) !== 0); // like /tmp: users can replace only their own files
}

/** A user other than root and the agent's who can replace files in a folder, and the remedy; `undefined` if there is none. */
export function exposedFolder(
  folder: string,
  agent: RunningAgent,
): { readonly problem: string; readonly remedy: string } | undefined {
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (othersCanWrite(stats)) {
    const problem = `other users can replace files in ${folder} (mode ${octal(stats.mode)})`;
    return { problem, remedy: `Run: chmod go-w ${shellWord(folder)}` };
  }
  if (stats.uid === 0 || stats.uid === userOf(processOf(agent))) return undefined;
  const problem = `${folder} belongs to user ${stats.uid}, who can replace files in it`;
  return { problem, remedy: `Run: chown root ${shellWord(folder)}` };
}

const SECRETS = 'secrets';

/** Who can replace the files that the agent trusts: its secrets, through their folders, and its CA file. */
export const secrets: Check = {
  name: SECRETS,
  run({ local, identity: who, network, agent }) {
    if ('id' in network && isFileError(network)) return [failed(SECRETS, network)];
    const { trustedCaFile } = local.hub;
    const files = credentialFilesOf(local);
    const findings = [...new Set(files.map((file) => dirname(file)))].flatMap((folder) =>
      exposed(folder, agent, '(SECRET_FILE_EXPOSED)'),
    );
    if (trustedCaFile !== undefined) findings.push(...authority(trustedCaFile, agent));
    if (findings.length > 0) return findings;
    const isReported = 'id' in who && isFileError(who); // by the check of the identity
    return files.length === 0 || isReported
      ? []
      : [ok(SECRETS, `no other user can read or replace ${files.join(', ')}`)];
  },
};

/** Whether a secret file or the file of authorities can't be used. */
export const isFileError = ({ id }: AgentError): boolean => /^(?:SECRET|CA)_FILE_/.test(id);

function exposed(folder: string, agent: RunningAgent, why: string): Finding[] {
  const found = exposedFolder(folder, agent);
  return found === undefined ? [] : [wrong(SECRETS, `${found.problem} ${why}`, found.remedy)];
}

function authority(file: string, agent: RunningAgent): Finding[] {
  const stats = statSync(file);
  if (!othersCanWrite(stats)) return exposed(dirname(file), agent, 'and make the agent trust another hub');
  const problem = `other users can write to ${file} (mode ${octal(stats.mode)}) and make the agent trust another hub`;
  return [wrong(SECRETS, problem, `Run: chmod go-w ${shellWord(file)}`)];
}

const COPIES = 'copies of secrets';
/** As much as the agent reads of a certificate. */
const MAX_FILE_BYTES = 64 * 1024;

/**
 * Whether the running agent uses its secrets as they are: systemd copies them only when it starts the service. For another
 * local file than the agent's, it will be restarted.
 */
export const copies: Check = {
  name: COPIES,
  run({ local, agent, credentials }) {
    return [...copiesUsedBy(agent.statusByThisFile, local)]
      .filter(([file, copy]) => isNewer(file, copy, credentials))
      .map(([file]) => wrong(COPIES, `the service uses an older copy of ${file}`, 'Run: systemctl restart vakt'));
  },
};

/**
 * Whether a file changed after its copy was made, and has different contents. An encrypted file (LoadCredentialEncrypted=)
 * always differs. If one of the two can't be read, the result is unknown. The process that answers as the agent names the
 * copy, so anything that systemd would not create, such as a device, is not opened.
 */
function isNewer(file: string, copy: string, credentials: string): boolean {
  try {
    if (!resolve(copy).startsWith(`${credentials}/`)) return false;
    const stats = lstatSync(copy);
    if (!stats.isFile() || statSync(file).ctimeMs <= stats.mtimeMs) return false;
    return readNamedFile(file, MAX_FILE_BYTES) !== readPlainFile(copy, MAX_FILE_BYTES);
  } catch {
    return false;
  }
}
