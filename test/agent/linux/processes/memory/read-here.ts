import { parseCommandLine } from '../../../../../src/agent/host/proc-folder.ts';
import { readCommandLine } from '../../../../../src/agent/linux/processes/memory/command-line.ts';
import type { CommandLineSource } from '../../../../../src/agent/linux/processes/memory/command-lines.ts';

/** Command lines as a reader would tell them, but read by the test itself. */
export const readHere = (proc: string): CommandLineSource => ({
  read: async (processes) =>
    processes.map(({ named: _, ...process }) => {
      const text = readCommandLine({ proc, ...process });
      return text === null ? { unread: 'ended' } : { argv: parseCommandLine(text) };
    }),
});
