import { readlinkSync, realpathSync } from 'node:fs';

/** Whether a process runs the same program as this one: another agent, or a command such as "vakt collect". */
export function runsOwnProgram(pid: number): boolean {
  try {
    return pid !== 0 && readlinkSync(`/proc/${pid}/exe`) === realpathSync(process.execPath);
  } catch {
    return false;
  }
}
