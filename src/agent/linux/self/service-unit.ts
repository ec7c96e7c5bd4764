import { existsSync, readlinkSync, realpathSync } from 'node:fs';
import { type Duration, seconds } from '../../../core/base/duration.ts';
import { findTool, runTool } from '../../host/run-tool.ts';

/** For `systemctl show`, which answers at once unless systemd is in trouble. */
const LIMIT: Duration = seconds(5);
const MAX_BYTES = 64 * 1024;
/** Length of the status text that is read; systemd's own limit is larger. */
const LONGEST_TEXT = 2_000;

/** Exists while systemd is the init system, see sd_booted(3). */
const SYSTEMD = '/run/systemd/system';
export const UNIT = 'vakt';

const PROPERTIES = [
  'LoadState',
  'ActiveState',
  'SubState',
  'Result',
  'StatusText',
  'ExecMainStatus',
  'NRestarts',
  'UnitFileState',
  'User',
] as const;

/** The state of the agent's service as systemd reports it; names as in systemctl(1). */
export type ServiceUnit = Readonly<Record<(typeof PROPERTIES)[number], string>>;

/**
 * Asks systemd for the state of the agent's service.
 *
 * @returns `undefined` where systemd is not running, does not answer within 5 s, or has no such unit
 */
export async function askServiceUnit(
  signal: AbortSignal,
  { isSystemd = () => existsSync(SYSTEMD), tool = findTool('systemctl') } = {},
): Promise<ServiceUnit | undefined> {
  if (tool === undefined || !isSystemd()) return undefined;
  try {
    const args = ['show', '--no-pager', `--property=${PROPERTIES.join(',')}`, `${UNIT}.service`];
    const unit = parse(await runTool(tool, args, { signal, maxBytes: MAX_BYTES, limit: LIMIT }));
    return unit.LoadState === 'loaded' || unit.LoadState === 'masked' ? unit : undefined;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

function parse(text: string): ServiceUnit {
  const unit = Object.fromEntries(PROPERTIES.map((name) => [name, '']));
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    const name = line.slice(0, at);
    if (at > 0 && Object.hasOwn(unit, name)) unit[name] = line.slice(at + 1, at + 1 + LONGEST_TEXT);
  }
  return unit as ServiceUnit;
}

/** Whether a process runs the same program as this one: another agent, or a command such as "vakt collect". */
export function runsOwnProgram(pid: number): boolean {
  try {
    return pid !== 0 && readlinkSync(`/proc/${pid}/exe`) === realpathSync(process.execPath);
  } catch {
    return false;
  }
}
