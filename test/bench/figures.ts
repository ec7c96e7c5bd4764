import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { table } from '../../src/core/command-line/command.ts';

/** Prints a benchmark's result: its subject, and a row of figures for each contestant. */
export function report(title: string, rows: readonly (readonly string[])[], notes: readonly string[] = []): void {
  console.log(`\n${title} (load average ${loadavg()[0]?.toFixed(2)})`);
  for (const line of table(rows)) console.log(`  ${line}`);
  for (const note of notes) console.log(`  ${note}`);
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

export const range = (values: readonly number[], digits: number): string =>
  `${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}`;

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU time of a process so far, including exited threads. Counted in ticks, mostly of 10 ms. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
}

/** CPU time of the running threads in nanoseconds, for work that takes less than a tick. See proc_pid_schedstat(5). */
export const fineCpuMs = (pid: number): number =>
  threads(pid).reduce(
    (sum, thread) => sum + Number(readFileSync(`${thread}/schedstat`, 'latin1').split(' ')[0]) / 1e6,
    0,
  );

/** Number of voluntary context switches of a process's threads, which is also the number of its wake-ups. */
export const wakeUps = (pid: number): number =>
  threads(pid).reduce((sum, thread) => sum + field(`${thread}/status`, 'voluntary_ctxt_switches'), 0);

const threads = (pid: number) => readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}`);

export interface Memory {
  readonly rss: number;
  readonly anonymous: number;
}

/** Resident memory in MiB. */
export const memory = (pid: number): Memory => ({
  rss: field(`/proc/${pid}/status`, 'VmRSS') / 1_024,
  anonymous: field(`/proc/${pid}/status`, 'RssAnon') / 1_024,
});

function field(file: string, name: string): number {
  const text = readFileSync(file, 'latin1').match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))?.[1];
  if (text === undefined) throw new Error(`${file} has no ${name}`);
  return Number(text);
}

/** A process that is measured in comparison with the agent. It prints a line when it is ready, and may print one when it exits. */
export class Peer {
  readonly pid: number;
  readonly #child: ReturnType<typeof spawn>;
  readonly #ended: Promise<void>;
  #output = '';
  #look = () => {};

  private constructor(command: string, args: readonly string[], environment: NodeJS.ProcessEnv) {
    const env = { ...process.env, ...environment };
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
    this.pid = this.#child.pid ?? 0;
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#output += chunk;
      this.#look();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', () => resolve());
      this.#child.on('close', () => resolve());
    });
  }

  static async start(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Peer> {
    const peer = new Peer(command, args, environment);
    const ready = new Promise<void>((resolve, reject) => {
      peer.#look = () => peer.#output.includes('\n') && resolve();
      void peer.#ended.then(() => reject(new Error(`${command} ended before it was ready`)));
    });
    await ready;
    return peer;
  }

  /** @returns its last line */
  async end(): Promise<string> {
    this.#child.kill('SIGTERM');
    await this.#ended;
    return this.#output.split('\n')[1] ?? '';
  }
}

/** Returns the path of a compiled script of this folder. */
export const scriptOf = (name: string): string => new URL(`${name}.js`, import.meta.url).pathname;
