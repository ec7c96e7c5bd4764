import type { ProcessStarted, StartedProcess } from '../../../core/contract/streams.ts';
import type { Asked, CommandLine } from './memory/command-lines.ts';

/** A process that was just seen, before its arguments are read. */
export interface NewProcess extends Pick<StartedProcess, 'pid' | 'parentPid' | 'userId' | 'executable'> {
  /** When it started. */
  readonly time: Date;
  readonly startTicks: number;
}

/**
 * What to ask the reader. The question isn't limited to one program's arguments: the process may have executed another
 * program since, and then its present arguments are reported.
 */
export const askedOf = ({ pid, startTicks, userId, executable }: NewProcess): Asked => ({
  pid,
  startTicks,
  userId,
  ...(executable === undefined ? {} : { named: executable }),
});

/** @param commandLine `undefined` when the reader was not asked */
export const withArguments = (
  { startTicks: _, ...process }: NewProcess,
  commandLine: CommandLine = { unread: 'unavailable' },
): ProcessStarted =>
  'argv' in commandLine
    ? { ...process, commandLine: commandLine.argv.join(' '), argv: commandLine.argv }
    : { ...process, commandLine: '', commandLineUnread: commandLine.unread };
