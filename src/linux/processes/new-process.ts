import type { ProcessSeen } from '../../contract/sources.ts';
import type { Asked, CommandLine } from './memory/command-lines.ts';

/** A process that was just seen, before its arguments are read. */
export type NewProcess = Omit<ProcessSeen, 'argv' | 'argvUnread'> & { readonly startTicks: number };

/**
 * What to ask the reader. Not for the arguments of one program only: the process may have executed another one since, and
 * then its arguments are told as they are now.
 */
export const askedOf = ({ pid, startTicks, userId, executable }: NewProcess): Asked => ({
  pid,
  startTicks,
  userId,
  ...(executable === undefined ? {} : { named: executable }),
});

/** @param commandLine `undefined` when nobody was asked */
export const withArguments = (
  { startTicks: _, ...process }: NewProcess,
  commandLine: CommandLine = { unread: 'unavailable' },
): ProcessSeen =>
  'argv' in commandLine ? { ...process, argv: commandLine.argv } : { ...process, argvUnread: commandLine.unread };
