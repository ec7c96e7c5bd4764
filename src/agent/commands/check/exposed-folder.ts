import { statSync } from 'node:fs';
import { shellWord } from '../../../core/base/text.ts';
import { octal, othersCanWrite } from './modes.ts';
import { processOf, userOf } from './process.ts';
import type { RunningAgent } from './situation.ts';

/** Who else than root and the agent's user can replace files in a folder, and how to end that; `undefined`: nobody. */
export function exposedFolder(
  folder: string,
  agent: RunningAgent,
): { readonly what: string; readonly remedy: string } | undefined {
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  if (othersCanWrite(stats)) {
    const what = `other users can replace files in ${folder} (mode ${octal(stats.mode)})`;
    return { what, remedy: `Run: chmod go-w ${shellWord(folder)}` };
  }
  if (stats.uid === 0 || stats.uid === userOf(processOf(agent))) return undefined;
  const what = `${folder} belongs to user ${stats.uid}, who can replace files in it`;
  return { what, remedy: `Run: chown root ${shellWord(folder)}` };
}
