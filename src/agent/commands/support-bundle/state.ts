import { existsSync, lstatSync, opendirSync } from 'node:fs';
import { join } from 'node:path';
import { seconds } from '../../../core/base/duration.ts';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { readPlainFile } from '../../../core/base/plain-file.ts';
import { printable } from '../../../core/base/text.ts';
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

/* The agent's state directory. Its user can replace every file there, so links are not followed and sizes are bounded. */

/** In entries, of the whole listing. */
const MAX_ENTRIES = 2_000;
const MAX_DEPTH = 4;
/** In bytes, of one of the small files. */
const MAX_FILE_BYTES = 256 * 1024;

/** Small files whose content is shown: counts, and what the agent keeps over a restart. None contains events. */
const BOOKS = ['statistics.json', 'message-units.json', 'last-run.json', 'pause.json', 'agent-id'];

/** Names, modes, owners, sizes and times of all files, as `ls -lR` prints them. @throws if the folder cannot be read */
export function stateLayout(directory: string): string {
  const rows: string[] = [row(directory, '.')];
  let bytes = 0;
  let isCut = false;
  const list = (folder: string, prefix: string, depth: number) => {
    const opened = opendirSync(folder);
    try {
      for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) {
        if (rows.length >= MAX_ENTRIES) {
          isCut = true;
          return;
        }
        const path = join(folder, entry.name);
        const name = `${prefix}${entry.name}`;
        rows.push(row(path, name));
        if (entry.isFile()) bytes += lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
        if (entry.isDirectory() && depth < MAX_DEPTH) attempt(() => list(path, `${name}/`, depth + 1), rows, name);
      }
    } finally {
      opened.closeSync();
    }
  };
  list(directory, '', 1);
  const cut = isCut ? [`[more than ${MAX_ENTRIES} entries; the rest is left out]`] : [];
  return [`${printable(directory)}: ${bytes} bytes in ${rows.length - 1} entries`, ...rows, ...cut, ''].join('\n');
}

function attempt(list: () => void, rows: string[], name: string): void {
  try {
    list();
  } catch (error) {
    rows.push(`[${printable(name)} cannot be listed: ${errnoOf(error) ?? 'unknown'}]`);
  }
}

function row(path: string, name: string): string {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return `[${printable(name)} was removed in the meantime]`;
  const { mode, uid, gid, size, mtime } = stats;
  const columns = [mode.toString(8).padStart(6), `${uid}:${gid}`.padEnd(11), String(size).padStart(10)];
  return `${columns.join(' ')} ${mtime.toISOString()} ${printable(name)}`;
}

/** The contents of the small files, by name; a file that cannot be read has the reason instead. @throws if none can */
export function books(directory: string): Record<string, unknown> {
  const found = BOOKS.map((name) => [name, contentOf(join(directory, name))] as const);
  const [first] = found;
  if (found.every(([, content]) => 'problem' in content) && first !== undefined && 'problem' in first[1])
    throw new Error(first[1].problem);
  return Object.fromEntries(found.map(([name, content]) => [name, 'problem' in content ? content : content.value]));
}

type Content = { readonly value: unknown } | { readonly problem: string };

function contentOf(path: string): Content {
  try {
    const text = readPlainFile(path, MAX_FILE_BYTES);
    return { value: path.endsWith('.json') ? (JSON.parse(text) as unknown) : text.trim() };
  } catch (error) {
    return { problem: error instanceof SyntaxError ? 'it is not JSON' : messageOf(error) };
  }
}
