import { execFile, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';

const SOURCES = new URL('../../../test/bench/native/', import.meta.url).pathname;

/** Different commands that are started. */
export const COMMANDS = 50;

/** What a load came to. */
export interface Started {
  /** The first argument of every start, and of nothing else. */
  readonly marker: string;
  readonly count: number;
  readonly seconds: number;
}

/** Programs of this folder that are written in C, built for the time of a benchmark. Without a compiler there are none. */
export class Native {
  readonly compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
  readonly #folder = mkdtempSync(join(tmpdir(), 'vakt-bench-'));
  readonly #starts = this.build('starts');
  readonly #tiny = this.build('tiny', '-static') ?? this.build('tiny');

  /** @returns the program, or `undefined` when it can't be built here */
  build(name: string, ...options: string[]): string | undefined {
    if (this.compiler === undefined) return undefined;
    const program = join(this.#folder, name);
    const args = ['-O2', ...options, '-o', program, join(SOURCES, `${name}.c`)];
    return spawnSync(this.compiler, args).status === 0 ? program : undefined;
  }

  /** The program that is started. */
  get program(): string {
    return this.#tiny ?? '/bin/true';
  }

  /** How the starts are made, in words. */
  get load(): string {
    const made = this.#starts === undefined ? "by Node's child_process, /bin/true" : 'by posix_spawn in C';
    return `started ${made}${this.#tiny === undefined ? '' : ', a static program that ends at once'}`;
  }

  /** Starts a program `count` times; `perSecond` 0 is as fast as the cores give. */
  async start(count: number, perSecond: number): Promise<Started> {
    const marker = `bench-${randomUUID()}`;
    if (this.#starts === undefined || this.#tiny === undefined) return startFromNode(marker, count, perSecond);
    const args = [count, perSecond, availableParallelism(), COMMANDS].map(String);
    const { stdout } = await promisify(execFile)(this.#starts, [...args, this.#tiny], {
      env: { ...process.env, MARKER: marker },
    });
    const [started = 0, took = 0] = stdout.split(' ').map(Number);
    return { marker, count: started, seconds: took / 1_000 };
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function startFromNode(marker: string, count: number, perSecond: number): Promise<Started> {
  const began = systemClock.monotonic();
  const running = new Set<Promise<void>>();
  for (let index = 0; index < count; index += 1) {
    const ahead = perSecond === 0 ? 0 : began + (index / perSecond) * 1_000 - systemClock.monotonic();
    if (ahead > 0) await systemClock.sleep(milliseconds(ahead));
    while (running.size >= availableParallelism()) await Promise.race(running);
    const child = spawn('/bin/true', [marker, `command-${index % COMMANDS}`], { stdio: 'ignore' });
    const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
    running.add(ended);
    void ended.then(() => running.delete(ended));
  }
  await Promise.all(running);
  return { marker, count, seconds: (systemClock.monotonic() - began) / 1_000 };
}
