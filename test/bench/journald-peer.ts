import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';

const JOURNALD = '/usr/lib/systemd/systemd-journald';

/** Argument: the folder for the journal. Runs in a new mount namespace, so that the machine's journal is not changed. */
const START = `
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journald.conf.d /run/systemd/journal || exit 1
printf '[Journal]\\nStorage=volatile\\nRuntimeMaxUse=1G\\nAudit=yes\\nRateLimitIntervalSec=0\\nForwardToSyslog=no\\n' \\
  >/run/systemd/journald.conf.d/bench.conf
mkdir -p /run/log/journal && mount --bind "$1" /run/log/journal && exec ${JOURNALD}
`;

/** Size of a journal. */
interface Size {
  /** Bytes of all its objects. */
  readonly bytes: number;
  readonly entries: number;
}

export const hasJournald = (): boolean => existsSync(JOURNALD);

/** Makes journald record audit, as it does by default, while `work` runs. @returns the size of its journal */
export async function withJournald<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly journal: Size }> {
  const folder = mkdtempSync(join(tmpdir(), 'vakt-journald-'));
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', START, 'sh', folder];
  const child = spawn('unshare', args, { stdio: 'ignore' });
  const exited = once(child, 'exit');
  try {
    const before = await begun(folder);
    const result = await work();
    const { bytes, entries } = sizeOf(folder) ?? before;
    return { result, journal: { bytes: bytes - before.bytes, entries: entries - before.entries } };
  } finally {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true });
  }
}

async function begun(folder: string): Promise<Size> {
  const deadline = systemClock.monotonic() + seconds(20);
  while (systemClock.monotonic() < deadline) {
    const size = sizeOf(folder);
    if (size !== undefined && size.entries > 0) return size; // its large tables may not exist before its first entry
    await systemClock.sleep(milliseconds(50));
  }
  throw new Error('journald has begun no journal within 20 s');
}

/** Sums up all journal files; see "Journal File Format" of systemd, "Header". */
function sizeOf(folder: string): Size | undefined {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.journal'));
  const headers = files.map((name) => readFileSync(join(folder, name)).subarray(0, 208));
  if (headers.length === 0 || headers.some((header) => header.toString('latin1', 0, 8) !== 'LPKSHHRH'))
    return undefined;
  const sum = (offset: number) => headers.reduce((all, header) => all + Number(header.readBigUInt64LE(offset)), 0);
  return { bytes: sum(TAIL_OBJECT_OFFSET), entries: sum(N_ENTRIES) };
}

const TAIL_OBJECT_OFFSET = 136;
const N_ENTRIES = 152;
