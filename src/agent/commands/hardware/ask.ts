import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../core/base/clock.ts';
import { type Duration, seconds } from '../../../core/base/duration.ts';
import { UNREACHABLE_INSPECTOR } from '../../../core/base/no-inspector.ts';
import { findTool } from '../../host/run-tool.ts';
import { HARDWARE_QUESTIONS, type HardwareQuestion } from './questions.ts';

/** For one question: some ask every disk or every service. */
const LIMIT = seconds(20);
/** In bytes, of one answer. */
const LARGEST_ANSWER = 1024 * 1024;
/** In characters, of what the child says when it fails. */
const LONGEST_ERROR = 300;

/** A program that a user could put elsewhere is not found. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

/** A heap limit, so that a hostile device with an endless name cannot exhaust the memory. */
const FLAGS = ['--max-old-space-size=128', UNREACHABLE_INSPECTOR];

/** `src/agent/hardware-main.ts`; in the bundle it is beside the program. */
const PROGRAM = ['./hardware-main.js', '../../hardware-main.js']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path));

/** The user and group `nobody` of every Linux, see user_namespaces(7). */
const NOBODY = { uid: 65_534, gid: 65_534 };

/** The answer of one question as the package gives it, or why there is none. */
export type HardwareAnswer = { readonly value: unknown } | { readonly problem: string };

/** Results, keyed by the question's name. */
export interface Hardware {
  readonly answers: Readonly<Record<string, unknown>>;
  /** Why there is no answer, by the name of the question. */
  readonly problems: Readonly<Record<string, string>>;
}

interface Options {
  readonly signal: AbortSignal;
  readonly limit?: Duration;
  /** For tests. */
  readonly questions?: readonly HardwareQuestion[];
  readonly program?: string | undefined;
}

/** Asks all questions, one after the other. Rejects only with the signal's reason. */
export async function askHardware({ questions = HARDWARE_QUESTIONS, ...options }: Options): Promise<Hardware> {
  const answers: Record<string, unknown> = {};
  const problems: Record<string, string> = {};
  for (const question of questions) {
    const answer = await ask(question, options);
    if ('value' in answer) answers[question.name] = answer.value;
    else problems[question.name] = answer.problem;
  }
  return { answers, problems };
}

async function ask(
  question: HardwareQuestion,
  { signal, limit = LIMIT, program = PROGRAM }: Options,
): Promise<HardwareAnswer> {
  signal.throwIfAborted();
  if (program === undefined) return { problem: 'hardware-main.js is missing beside main.js' };
  const [command, args, user] = commandFor(question, [...FLAGS, program, question.name]);
  const child = spawn(command, args, {
    ...user,
    env: ENVIRONMENT,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own, so that the programs that it starts end with it
    windowsHide: true,
  });
  const end = () => killGroup(child);
  process.once('exit', end);
  signal.addEventListener('abort', end, { once: true });
  try {
    return await systemClock.within(limit, question.name, answerOf(child, end));
  } catch {
    return { problem: `it took longer than ${limit / 1_000} s, and was ended` };
  } finally {
    end();
    process.off('exit', end);
    signal.removeEventListener('abort', end);
    signal.throwIfAborted();
  }
}

function answerOf(child: ChildProcess, end: () => void): Promise<HardwareAnswer> {
  let stdout = '';
  let stderr = '';
  let isTooLong = false;
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    if (stdout.length + text.length > LARGEST_ANSWER) {
      isTooLong = true;
      end();
    } else stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(0, LONGEST_ERROR);
  });
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ problem: `it could not be started: ${error.message}` }));
    child.on('close', (status, signal) => {
      if (isTooLong) resolve({ problem: `its answer is longer than ${LARGEST_ANSWER} bytes` });
      else if (status === 0) resolve(parsed(stdout));
      else resolve({ problem: `it ended with ${signal ?? status}${stderr === '' ? '' : `: ${stderr.trim()}`}` });
    });
  });
}

function parsed(text: string): HardwareAnswer {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return { problem: 'its answer is not JSON' };
  }
}

/** Also the programs that the child has started. */
function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // they have all ended
  }
}

type Call = readonly [command: string, args: string[], user: { uid?: number; gid?: number }];

/**
 * As root, a question that needs no rights is asked by `nobody`, and the others by root with no more capabilities than they
 * need, if setpriv(1) is installed. See capabilities(7): the kernel gives a program of root no capability outside of the bounding
 * set.
 */
export function commandFor(
  { needs }: Pick<HardwareQuestion, 'needs'>,
  args: string[],
  { uid = process.geteuid?.(), setpriv = findTool('setpriv') } = {},
): Call {
  if (uid !== 0) return [process.execPath, args, {}];
  if (needs === 'none') return [process.execPath, args, NOBODY];
  if (setpriv === undefined) return [process.execPath, args, {}];
  const bounding = `-all${needs === 'disks' ? ',+sys_rawio,+sys_admin' : ''}`;
  return [setpriv, ['--no-new-privs', `--bounding-set=${bounding}`, '--inh-caps=-all', process.execPath, ...args], {}];
}
