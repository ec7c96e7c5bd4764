import { existsSync } from 'node:fs';
import { seconds } from '../../../core/base/duration.ts';
import { findTool, runTool, ToolError } from '../../host/run-tool.ts';
import { UNIT } from '../../linux/self/service-unit.ts';

/** In lines. When they are too long for the limit below, fewer are asked for. */
const LINES = [2_000, 200];
/** A line of the agent has at most 16 KB, most have 200 bytes. */
const MAX_BYTES = 8 * 1024 * 1024;
const LIMIT = seconds(20);

/** The last lines of the service's log, from the journal. @throws if there is no journal, or it has no lines of the service */
export async function logLines(signal: AbortSignal): Promise<string> {
  const tool = findTool('journalctl');
  if (tool === undefined || !existsSync('/run/systemd/system'))
    throw new Error(
      'there is no systemd journal here; add the log that your service manager or container engine keeps',
    );
  const text = await lastLines(tool, signal);
  if (text.trim() === '' || /^-- No entries --\s*$/.test(text))
    throw new Error(`the journal shows this user no lines of the service ${UNIT}`);
  return text;
}

async function lastLines(tool: string, signal: AbortSignal): Promise<string> {
  for (const count of LINES) {
    const args = ['--no-pager', '--quiet', '--output=short-iso', `--lines=${count}`, `--unit=${UNIT}.service`];
    try {
      return await runTool(tool, args, { signal, maxBytes: MAX_BYTES, limit: LIMIT });
    } catch (error) {
      if (!(error instanceof ToolError) || error.code !== 'ENOBUFS' || count === LINES.at(-1)) throw error;
    }
  }
  throw new Error('unreachable');
}
