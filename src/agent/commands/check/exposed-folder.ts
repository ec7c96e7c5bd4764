import { statSync } from 'node:fs';
import { shellWord } from '../../../core/base/text.ts';
import { octal, othersCanWrite } from './modes.ts';
import { processOf, userOf } from './process.ts';
import type { RunningAgent } from './situation.ts';

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
