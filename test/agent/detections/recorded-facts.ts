import { actorAt, runFile } from '../../../src/agent/detections/actors/actor-recognition.ts';

/** A recorded ancestor, as `vakt rules test` reads it. */
export interface RecordedAncestor {
  readonly Executable: string;
  readonly Arguments: readonly string[];
  readonly UserId: number;
  readonly ProcessId: number;
  readonly IsHostFile: boolean;
}

const ancestor = (pid: number, executable: string, line: string): RecordedAncestor => ({
  ProcessId: pid,
  Executable: executable,
  Arguments: line.split(' '),
  UserId: 0,
  IsHostFile: true,
});

const DPKG = ancestor(902, '/usr/bin/dpkg', '/usr/bin/dpkg --configure -a');
const POSTINST = ancestor(901, '/usr/bin/dash', '/bin/sh /var/lib/dpkg/info/x.postinst configure');
const INIT = ancestor(1, '/usr/lib/systemd/systemd', '/sbin/init');
/** Names of processes that replace their arguments, and what they were started as. */
const TITLES: Readonly<Record<string, string>> = { adduser: '/usr/bin/perl /usr/sbin/adduser' };

/**
 * The facts about the parent of a recorded start that the recording lacks. Normal work was recorded on unmodified systems, so
 * the parent ran the system's own files, and a script of a package was started by dpkg, one of init by init. On a device,
 * none of these facts follows from a command line.
 */
export function recordedAncestors(start: Readonly<Record<string, unknown>>): readonly RecordedAncestor[] {
  const { ParentExecutable, ParentCommandLine, UserId = '0' } = start;
  if (typeof ParentExecutable !== 'string' || typeof ParentCommandLine !== 'string' || UserId !== '0') return [];
  const line = TITLES[ParentCommandLine] ?? ParentCommandLine;
  const isInit = /\/(systemd|init(\.sysvinit)?)$/.test(ParentExecutable) || /^(\/sbin\/)?init(\s|$)/.test(line);
  const parent = ancestor(isInit ? 1 : 900, ParentExecutable, line);
  const file = runFile({ pid: parent.ProcessId, parentPid: 0, executable: ParentExecutable, argv: parent.Arguments });
  const above = actorAt(file ?? '')?.under ?? [];
  if (above.includes('packages')) return [parent, POSTINST, DPKG];
  return above.includes('init') ? [parent, INIT] : [parent];
}
