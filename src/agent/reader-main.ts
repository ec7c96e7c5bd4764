import '../core/base/no-inspector.ts'; // must be first, see there
import { COMMAND_LINE, readCommandLine } from './linux/processes/memory/command-line.ts';
import { type Load, serve } from './reader/serve.ts';

/*
 * Main module of the reader, the agent's child process for reads that could block (base/reader/reader.ts). Only the agent
 * starts it; they communicate over its standard input and output.
 */

/** The kinds of questions that it answers. Each module is loaded by the first question of its kind. */
const KINDS: Readonly<Record<string, Load>> = {
  [COMMAND_LINE.name]: async () => readCommandLine,
  hardware: async () => (await import('./linux/machine/hardware/list-hardware.ts')).listHardware,
  systemFacts: async () => (await import('./linux/machine/system-facts.ts')).systemFacts,
  baselineScan: async () => {
    const { scanAnswerer } = await import('./baseline/scan-question.ts');
    const { fileCapabilities } = await import('./linux/native/system-calls.ts');
    return scanAnswerer({ fileCapabilities });
  },
};

void serve(KINDS);
