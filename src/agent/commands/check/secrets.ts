import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { AgentError } from '../../../core/base/errors.ts';
import { shellWord } from '../../../core/base/text.ts';
import { credentialFilesOf } from '../../config/local.ts';
import { exposedFolder } from './exposed-folder.ts';
import { type Finding, failed, ok, wrong } from './finding.ts';
import { octal, othersCanWrite } from './modes.ts';
import type { Check, RunningAgent } from './situation.ts';

const NAME = 'secrets';

/** Who can replace the files that the agent trusts: its secrets, through their folders, and its CA file. */
export const secrets: Check = {
  name: NAME,
  run({ local, identity: who, network, agent }) {
    if ('id' in network && isFileError(network)) return [failed(NAME, network)];
    const { trustedCaFile } = local.hub;
    const files = credentialFilesOf(local);
    const findings = [...new Set(files.map((file) => dirname(file)))].flatMap((folder) =>
      exposed(folder, agent, '(SECRET_FILE_EXPOSED)'),
    );
    if (trustedCaFile !== undefined) findings.push(...authority(trustedCaFile, agent));
    if (findings.length > 0) return findings;
    const isReported = 'id' in who && isFileError(who); // by the check of the identity
    return files.length === 0 || isReported ? [] : [ok(NAME, `no other user can read or replace ${files.join(', ')}`)];
  },
};

/** Whether a secret file or the file of authorities can't be used. */
export const isFileError = ({ id }: AgentError): boolean => /^(?:SECRET|CA)_FILE_/.test(id);

function exposed(folder: string, agent: RunningAgent, why: string): Finding[] {
  const found = exposedFolder(folder, agent);
  return found === undefined ? [] : [wrong(NAME, `${found.problem} ${why}`, found.remedy)];
}

function authority(file: string, agent: RunningAgent): Finding[] {
  const stats = statSync(file);
  if (!othersCanWrite(stats)) return exposed(dirname(file), agent, 'and make the agent trust another hub');
  const problem = `other users can write to ${file} (mode ${octal(stats.mode)}) and make the agent trust another hub`;
  return [wrong(NAME, problem, `Run: chmod go-w ${shellWord(file)}`)];
}
