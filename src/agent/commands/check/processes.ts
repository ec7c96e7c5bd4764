import { statSync } from 'node:fs';
import { join } from 'node:path';
import { hostProc } from '../../host/in-root.ts';
import { type Finding, note, ok } from './finding.ts';
import { processOf } from './process.ts';
import type { Check } from './situation.ts';

const NAME = 'processes';

/** Whether the agent reads of processes where a user can make it wait. */
export const processes: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  run: ({ agent, local: { hostRoot } }) => {
    const proc = hostProc(hostRoot);
    const seen = proc === '/proc' ? join(processOf(agent), 'root/proc') : proc;
    return checkProc({ agents: deviceOf(seen), hosts: deviceOf('/proc/1/root/proc') });
  },
};

/** @param devices of the /proc that the agent reads, and of the first process's; `undefined`: it can't be examined */
export function checkProc({ agents, hosts }: { agents: number | undefined; hosts: number | undefined }): Finding[] {
  if (agents === undefined || hosts === undefined) return []; // not without CAP_SYS_PTRACE
  if (agents !== hosts) return [ok(NAME, 'are read from a /proc that no other program has')];
  const problem =
    "any user can make the agent hang: it reads of processes from the system's /proc, whose folders users can keep locked";
  const remedy =
    'Run it as the service, whose ProtectProc= gives it a /proc of its own, or in a container with --pid=host; both need Linux 5.8.';
  return [note(NAME, problem, remedy)];
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev;
  } catch {
    return undefined;
  }
}
