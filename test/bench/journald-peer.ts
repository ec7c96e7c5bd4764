import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';

const JOURNALD = '/usr/lib/systemd/systemd-journald';

/** Arguments: the folder for the journal. In mounts of its own, so that nothing of the machine's journal is touched. */
const START = `
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journald.conf.d /run/systemd/journal || exit 1
printf '[Journal]\\nStorage=volatile\\nRuntimeMaxUse=1G\\nAudit=yes\\nRateLimitIntervalSec=0\\nForwardToSyslog=no\\n' \\
  >/run/systemd/journald.conf.d/bench.conf
mkdir -p /run/log/journal && mount --bind "$1" /run/log/journal && exec ${JOURNALD}
`;

/** What a journal contains. */
interface Size {
  /** In bytes, of all its objects. */
  readonly bytes: number;
  readonly entries: number;
}

export const hasJournald = (): boolean => existsSync(JOURNALD);

/** Has journald record audit, as it does by default, while `work` runs. @returns what it has written of it */
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
    if (size !== undefined && size.entries > 0) return size; // before its first entry it may be without its large tables
    await systemClock.sleep(milliseconds(50));
  }
  throw new Error('journald has begun no journal within 20 s');
}

/** Of all journal files; see "Journal File Format" of systemd, "Header". */
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
