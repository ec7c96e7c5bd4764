import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Process {
  readonly executable?: string | undefined;
  readonly argv?: readonly string[];
  readonly parent?: number;
  readonly state?: string;
  /** In hundredths of a second since boot. */
  readonly start?: number;
  readonly threads?: readonly number[];
  /** PF_… of linux/sched.h. */
  readonly flags?: number;
}

/** A host root with a /proc, in which processes come and go as the test says. */
export class FakeProc {
  readonly hostRoot = mkdtempSync(join(tmpdir(), 'vakt-host-'));
  readonly path = join(this.hostRoot, 'proc');

  constructor() {
    mkdirSync(this.path);
    this.uptime(1_000);
  }

  uptime(seconds: number): void {
    writeFileSync(join(this.path, 'uptime'), `${seconds.toFixed(2)} 1.00\n`);
  }

  add(pid: number, options: Process = {}): void {
    const {
      executable = '/bin/x',
      argv = ['/bin/x', String(pid)],
      parent = 1,
      state = 'S',
      start = 100,
      flags = 4_194_560,
      threads = [pid],
    } = options;
    this.remove(pid);
    const folder = join(this.path, String(pid));
    const firstThread = join(folder, 'task', String(pid));
    mkdirSync(firstThread, { recursive: true });
    const stat = `${pid} (x) ${state} ${parent} 1 1 0 -1 ${flags} 102 0 0 0 0 0 0 0 20 0 ${threads.length} 0 ${start} 2703360 190 18446744073709551615\n`;
    for (const place of [folder, firstThread]) writeFileSync(join(place, 'stat'), stat);
    writeFileSync(join(folder, 'status'), 'Name:\tx\nUid:\t0\t1000\t0\t0\n');
    writeFileSync(join(folder, 'cmdline'), argv.map((argument) => `${argument}\0`).join(''));
    if (executable !== '') symlinkSync(executable, join(folder, 'exe'));
  }

  remove(pid: number): void {
    rmSync(join(this.path, String(pid)), { recursive: true, force: true });
  }

  close(): void {
    rmSync(this.hostRoot, { recursive: true });
  }
}
