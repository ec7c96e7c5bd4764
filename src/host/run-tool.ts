import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { type Duration, seconds } from '../base/duration.ts';
import { errnoOf } from '../base/errors.ts';
import { rememberOwn } from '../base/own-processes.ts';

/** Where tools are, in this order. Never taken from PATH, which whoever starts the agent could choose. */
const FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

const LIMIT = seconds(10);

/** Full path of a tool, or `undefined` when the system doesn't have it. */
export function findTool(name: string): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${name}`).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

interface Options {
  readonly signal: AbortSignal;
  /** Of its standard output, in bytes. More is an error: half an answer would be a wrong one. */
  readonly mostBytes: number;
  readonly limit?: Duration;
  /** Exit statuses other than 0 that are an answer too. */
  readonly alsoFine?: readonly number[];
  /** Besides the little that every tool gets. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A tool that could not be run, or did not answer. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  /** What the tool ended with; absent when it was not its own end. */
  readonly exitStatus: number | undefined;
  /** `ETIMEDOUT`, `ENOBUFS` for too much output, or what kept it from starting, `EACCES`. */
  readonly code: string | undefined;

  constructor(message: string, { exitStatus, code }: { exitStatus?: number; code?: string }) {
    super(message);
    this.exitStatus = exitStatus;
    this.code = code;
  }
}

/**
 * Runs a tool of the system and returns what it writes to its standard output, as UTF-8.
 *
 * No shell, no input, an environment of its own: `LC_ALL=C` so that it answers in one language. It gets ten seconds
 * unless told, then SIGKILL.
 *
 * @param path full path, from `findTool`
 * @throws ToolError with the first line of what it wrote to its standard error; the signal's reason when it aborts
 */
export async function runTool(path: string, args: readonly string[], options: Options): Promise<string> {
  const { signal, mostBytes, limit = LIMIT, alsoFine = [], environment = {} } = options;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = execFile(
      path,
      [...args],
      {
        env: { ...environment, LC_ALL: 'C', PATH: FOLDERS.join(':') },
        cwd: '/',
        encoding: 'utf8',
        maxBuffer: mostBytes,
        timeout: limit,
        killSignal: 'SIGKILL',
        signal,
        windowsHide: true,
      },
      (error, stdout, stderr) => {
        if (signal.aborted) return reject(signal.reason);
        const status = typeof error?.code === 'number' ? error.code : undefined;
        if (error === null || (status !== undefined && alsoFine.includes(status))) return resolve(stdout);
        reject(toolError(path, error, status, stderr));
      },
    );
    if (child.pid !== undefined) rememberOwn(child.pid);
    child.stdin?.on('error', () => {}); // it may close its input at once
    child.stdin?.end();
  });
}

function toolError(
  path: string,
  error: Error & { killed?: boolean; code?: unknown },
  status: number | undefined,
  stderr: string,
): ToolError {
  const [said = ''] = stderr.trim().split('\n', 1);
  const why = said === '' ? '' : `: ${said.slice(0, 200)}`;
  if (status !== undefined) return new ToolError(`${path} ended with ${status}${why}`, { exitStatus: status });
  const code = errnoOf(error);
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') {
    return new ToolError(`${path} wrote too much`, { code: 'ENOBUFS' });
  }
  if (error.killed === true) return new ToolError(`${path} took too long`, { code: 'ETIMEDOUT' });
  return new ToolError(`${path} could not be run: ${code ?? 'it was killed'}${why}`, {
    ...(code === undefined ? {} : { code }),
  });
}
