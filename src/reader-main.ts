import './base/no-inspector.ts'; // before anything else: see there
import { type Load, serve } from './base/reader/serve.ts';
import { COMMAND_LINE, readCommandLine } from './linux/processes/memory/command-line.ts';

/*
 * The program of the agent's disposable child (base/reader/reader.ts), which reads what could block the agent for ever.
 * Not to be started by hand: it speaks with the agent over its standard input and output.
 */

/** What it can answer, by the name of the question's kind. Loaded when it is first asked for. */
const KINDS: Readonly<Record<string, Load>> = {
  [COMMAND_LINE.name]: async () => readCommandLine,
  baselineScan: async () => {
    const { scanAnswerer } = await import('./baseline/scan-question.ts');
    const { fileCapabilities } = await import('./linux/native/file-capabilities.ts');
    return scanAnswerer({ fileCapabilities });
  },
};

await serve(KINDS);
