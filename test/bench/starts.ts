import { execFile, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';

const SOURCES = new URL('../../../test/bench/native/', import.meta.url).pathname;

/** Number of distinct commands. */
export const COMMANDS = 50;

/** Result of a load. */
export interface Started {
  /** First argument of every start, which no other program has. */
  readonly marker: string;
  readonly count: number;
  readonly seconds: number;
}

/** C programs of this folder, compiled for a benchmark if there is a compiler. */
export class Native {
  readonly compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);
  readonly #folder = mkdtempSync(join(tmpdir(), 'vakt-bench-'));
  readonly #starts = this.build('starts');
  readonly #tiny = this.build('tiny', '-static') ?? this.build('tiny');

  /** @returns the program's path, or `undefined` if it can't be compiled here */
  build(name: string, ...options: string[]): string | undefined {
    if (this.compiler === undefined) return undefined;
    const program = join(this.#folder, name);
    const args = ['-O2', ...options, '-o', program, join(SOURCES, `${name}.c`)];
    return spawnSync(this.compiler, args).status === 0 ? program : undefined;
  }

  /** The started program. */
  get program(): string {
    return this.#tiny ?? '/bin/true';
  }

  /** Description of the load. */
  get load(): string {
    const made = this.#starts === undefined ? "by Node's child_process, /bin/true" : 'by posix_spawn in C';
    return `started ${made}${this.#tiny === undefined ? '' : ', a static program that ends at once'}`;
  }

  /** Starts a program `count` times; with `perSecond` 0, as fast as possible. */
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
