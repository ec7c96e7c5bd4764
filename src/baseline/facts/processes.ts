import type { System } from '../system.ts';

/** The most processes that are looked at. */
const MOST = 20_000;

/** The names of running programs, as /proc/PID/comm has them: cut to 15 bytes. Empty where nothing runs. */
export async function readProcesses(system: System): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  if (!system.runs) return names;
  const look = system.files.entries('/proc', MOST);
  for (const pid of 'found' in look ? look.found : []) {
    if (!/^\d+$/.test(pid)) continue;
    const comm = system.files.bytes(`/proc/${pid}/comm`, 64);
    if ('found' in comm) names.add(comm.found.toString('utf8').trimEnd());
    await system.pace();
  }
  return names;
}
