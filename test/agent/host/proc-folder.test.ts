import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { ProcFolder, parseCommandLine, parseStat, parseUserId } from '../../../src/agent/host/proc-folder.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

/** Recorded on Linux 6.18 for some processes, and read from this one. */
const STATS = [
  '22715 (pr) Z 22714 22707 3899 0 -1 4227084 135 0 0 0 0 0 0 0 20 0 2 0 320555 0 0 18446744073709551615 0 0 0 0 0 0 0 6\n',
  '4711 (a) b (c) S 1 4711 4711 0 -1 4194560 102 0 0 0 0 0 0 0 20 0 1 0 34567 2703360 190 18446744073709551615 1 1 0\n',
  '2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 2 0 0 18446744073709551615 0 0 0 0 0 0 0 2147483647 0\n',
  readFileSync('/proc/self/stat', 'utf8'),
];
const STATUSES = [
  'Name:\tx\nUmask:\t0022\nUid:\t0\t1000\t0\t0\nGid:\t1\t2\t3\t4\n',
  readFileSync('/proc/self/status', 'utf8'),
];
const COMMAND_LINES = ['ls\0-l\0\0a b\0', 'overwritten title', readFileSync('/proc/self/cmdline', 'utf8')];

/** Any text, or a real one of which parts are missing, doubled, or something else. */
const textLike = (real: readonly string[]) =>
  fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .tuple(fc.constantFrom(...real), fc.nat(400), fc.nat(60), fc.oneof(fc.string(), fc.constantFrom(...real)))
      .map(([text, at, length, other]) => text.slice(0, at) + other + text.slice(at + length)),
  );
const runs = { numRuns: fuzzRuns(100_000) };

describe('the parsers of /proc/PID', () => {
  it('accept any text in stat', () => {
    fc.assert(
      fc.property(textLike(STATS), (text) => {
        const stat = parseStat(text);
        if (stat === undefined) return;
        assert.ok(Number.isSafeInteger(stat.parentPid) && stat.parentPid >= 0);
        assert.ok(Number.isSafeInteger(stat.startTicks) && stat.startTicks >= 0);
        assert.ok(Number.isSafeInteger(stat.threads) && stat.threads >= 0);
      }),
      runs,
    );
  });

  it('accept any text in status', () => {
    fc.assert(
      fc.property(textLike(STATUSES), (text) => {
        const userId = parseUserId(text);
        assert.ok(userId === undefined || (Number.isSafeInteger(userId) && userId >= 0));
      }),
      runs,
    );
  });

  it('accept any text in cmdline', () => {
    fc.assert(
      fc.property(textLike(COMMAND_LINES), (text) => {
        const argv = parseCommandLine(text);
        assert.ok(argv.join('\0').length <= text.length);
        assert.ok(argv.every((argument) => !argument.includes('\0')));
      }),
      runs,
    );
  });

  it('read real files', () => {
    assert.deepEqual(
      STATS.slice(0, 3).map((text) => parseStat(text)?.startTicks),
      [320_555, 34_567, 2],
    );
    assert.equal(parseStat(STATS.at(-1) ?? '')?.parentPid, process.ppid);
    assert.equal(parseUserId(STATUSES.at(-1) ?? ''), process.geteuid?.());
  });

  it("ignore fake lines in a process's name", () => {
    for (const end of ['\r', '\u2028', '\u2029', '\v'])
      assert.equal(parseUserId(`Name:\tx${end}Uid:\t0\t0\t\nUid:\t5\t33\t5\t5\n`), 33);
  });
});

describe('the time since boot', () => {
  it("is the host's, even in an LXC container that shows the uptime of its first process", function () {
    const proc = temporaryFolder();
    require(this, statSync('/dev/shm').dev === statSync(proc).dev ? 'needs a second file system' : undefined);
    mkdirSync(join(proc, '1'));
    writeFileSync(join(proc, '1/stat'), '1 (init) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 50000 0 0\n');
    writeFileSync(join(proc, 'uptime'), '700.00 1.00\n');
    assert.equal(new ProcFolder(proc).uptime(), 700_000);
    const lxcfs = mkdtempSync('/dev/shm/vakt-test-');
    try {
      writeFileSync(join(lxcfs, 'uptime'), '200.50 1.00\n');
      rmSync(join(proc, 'uptime'));
      symlinkSync(join(lxcfs, 'uptime'), join(proc, 'uptime'));
      assert.equal(new ProcFolder(proc).uptime(), 700_500);
    } finally {
      rmSync(lxcfs, { recursive: true });
    }
  });
});
