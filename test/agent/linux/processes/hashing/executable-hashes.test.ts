import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import type { LocalFiles } from '../../../../../src/agent/host/local-files.ts';
import type { ProcessLocation } from '../../../../../src/agent/linux/processes/containers.ts';
import { ExecutableHashes } from '../../../../../src/agent/linux/processes/hashing/executable-hashes.ts';
import { type Clock, momentOf, systemClock } from '../../../../../src/core/base/clock.ts';
import { type Duration, milliseconds } from '../../../../../src/core/base/duration.ts';
import { fuzzRuns } from '../../../../fuzz.ts';
import { temporaryFolder } from '../../../../harness/folders.ts';
import { require } from '../../../../harness/require.ts';
import { until } from '../../../../harness/until.ts';

const MIB = 1024 * 1024;
const GONE: ProcessLocation = { container: undefined, onHost: true, gone: true };
const ALIVE: ProcessLocation = { ...GONE, gone: false };
const IN_CONTAINER: ProcessLocation = { container: 'web', onHost: false, gone: false };

const sha256 = (content: Buffer | string) => createHash('sha256').update(content).digest('hex');

/** Resolves once the kernel.s file clock, which advances about 100 times per second, has passed the present time. */
const tickOf = (folder: string) => {
  const probe = join(folder, 'tick');
  const from = Date.now();
  const hasTicked = () => {
    writeFileSync(probe, '');
    return Math.floor(statSync(probe).ctimeMs) > from;
  };
  return until('a file with a later time', hasTicked, { every: milliseconds(1) });
};

describe('ExecutableHashes', () => {
  let hostRoot: string;
  /** Offset of the wall clock from the real time, or from a fixed time. */
  let ahead: number;
  let still: number | undefined;
  /** The requested sleeps, and a callback that runs during them. */
  let waits: number[];
  let duringSleep: () => void;
  /** What a look at the monotonic clock takes. */
  let slowness: number;
  let monotonic: number;
  let hashes: ExecutableHashes;

  const clock: Clock = {
    ...systemClock,
    now: () => new Date((still ?? Date.now()) + ahead),
    monotonic() {
      monotonic += slowness;
      return milliseconds(monotonic);
    },
    async sleep(wait) {
      waits.push(wait);
      ahead += wait;
      monotonic += wait;
      duringSleep();
    },
  };

  beforeEach(() => {
    hostRoot = temporaryFolder();
    ahead = 0;
    still = undefined;
    waits = [];
    duringSleep = () => {};
    slowness = 0;
    monotonic = 0;
    hashes = new ExecutableHashes({ hostRoot, clock });
  });
  afterEach(async () => {
    await hashes.idle();
  });

  const at = (path: string) => join(hostRoot, path);
  const put = (path: string, content: Buffer | string, mode = 0o755) => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), content, { mode });
    return sha256(content);
  };
  /** Puts a file in another one's place, as package managers do. */
  const replace = (path: string, content: string) => {
    put(`${path}.new`, content);
    renameSync(at(`${path}.new`), at(path));
    return sha256(content);
  };
  const live = (pid: number, image: string) => {
    mkdirSync(at(`proc/${pid}`), { recursive: true });
    symlinkSync(image, at(`proc/${pid}/exe`));
  };
  const now = () => clock.now();
  const asked = (
    executable: string,
    {
      place = GONE,
      startedAt = now() as Date | undefined,
      pid = 77,
      userId = 0,
      loginUserId = undefined as number | undefined,
      startedBy = undefined as Duration | undefined,
    } = {},
  ) =>
    hashes.of(
      { pid, parentPid: 1, userId, loginUserId, executable, ...(startedAt === undefined ? {} : { startedAt }) },
      place,
      momentOf(clock),
      startedBy,
    );
  const of = (...args: Parameters<typeof asked>) => asked(...args).sha256;
  const why = (...args: Parameters<typeof asked>) => asked(...args).omitted;
  const pause = () => tickOf(hostRoot);

  describe('for a process that has exited', () => {
    it('returns the hash of the file at its path', () => {
      const expected = put('usr/bin/ls', 'program');
      assert.equal(of('/usr/bin/ls'), expected);
      assert.equal(of('/usr/bin/ls'), expected);
      assert.equal(of('/usr/bin/ls', { startedAt: undefined }), expected);
    });

    it('returns undefined if no file exists', () => assert.equal(of('/usr/bin/ls'), undefined));

    it('returns undefined if the file has been replaced since', async () => {
      put('bin/a', 'old');
      await pause();
      const startedAt = now();
      await pause();
      const expected = replace('bin/a', 'new');
      assert.equal(of('/bin/a', { startedAt }), undefined);
      await pause();
      assert.equal(of('/bin/a'), expected);
      assert.equal(of('/bin/a', { startedAt }), undefined);
    });

    it('returns undefined if the file was touched since: it may have been another', async () => {
      put('bin/a', 'program');
      await pause();
      const startedAt = now();
      await pause();
      chmodSync(at('bin/a'), 0o700);
      assert.equal(of('/bin/a', { startedAt }), undefined);
    });

    it('returns the hash for an old start of an older file', () => {
      const expected = put('bin/a', 'program');
      ahead = 3_600_000;
      assert.equal(of('/bin/a', { startedAt: new Date(Date.now() + 1_000) }), expected);
    });

    it('returns the hash of a file dated in the future, since the clock was set back', () => {
      const expected = put('bin/a', 'program');
      ahead = -86_400_000;
      assert.equal(of('/bin/a'), expected);
      assert.equal(of('/bin/a'), expected);
    });

    it('uses a hash for all starts before it was read, and for no other', async () => {
      const old = put('bin/a', 'old');
      still = Date.now(); // as the monotonic clock does, which it would otherwise seem to have been set against
      ahead = 5_000; // what was hashed is settled
      const before = new Date(now().getTime() - 50);
      assert.equal(of('/bin/a'), old);
      unlinkSync(at('bin/a'));
      assert.equal(of('/bin/a', { startedAt: before }), old);
      assert.equal(of('/bin/a'), undefined);
      monotonic += 2_000;
      ahead += 2_000;
      assert.equal(of('/bin/a', { startedAt: before }), undefined);
    });

    it('uses a hash for all starts that were certainly before it was read, however recent', () => {
      const old = put('bin/a', 'old');
      still = Date.now();
      ahead = 5_000;
      monotonic = 1_000;
      const startedBy = milliseconds(monotonic);
      assert.equal(of('/bin/a', { startedBy }), old);
      unlinkSync(at('bin/a'));
      assert.equal(of('/bin/a', { startedBy }), old);
      assert.equal(of('/bin/a', { startedBy: milliseconds(monotonic + 1) }), undefined);
      assert.equal(of('/bin/a'), undefined);
    });

    it('returns undefined in a container, where the path names another file', () => {
      put('bin/a', 'program');
      assert.equal(of('/bin/a', { place: { ...IN_CONTAINER, gone: true } }), undefined);
      assert.equal(of('/bin/a', { place: { container: undefined, onHost: false, gone: true } }), undefined);
    });

    it('returns undefined for an image without a path', () => {
      put('bin/a', 'program');
      put('bin/a (deleted)', 'program');
      assert.equal(of('/bin/a (deleted)'), undefined);
      assert.equal(of('/memfd:a (deleted)'), undefined);
    });
  });

  it('never returns the hash of an earlier file, regardless of how fast files change', () => {
    put('bin/a', 'x'.repeat(64));
    const { atime, mtime } = statSync(at('bin/a'));
    for (let round = 0; round < 500; round += 1) {
      const content = randomBytes(32).toString('hex');
      if (round % 3 === 0) replace('bin/a', content);
      else if (round % 3 === 1) unlinkSync(at('bin/a'));
      writeFileSync(at('bin/a'), content, { mode: 0o755 });
      if (round % 2 === 0) utimesSync(at('bin/a'), atime, mtime); // as if nothing had happened
      assert.equal(of('/bin/a', { startedAt: undefined }), sha256(content));
      assert.ok([undefined, sha256(content)].includes(of('/bin/a')));
      assert.equal(of('/bin/a', { startedAt: new Date(Date.now() + 20) }), sha256(content));
    }
  });

  it('returns correct hashes for more files than it remembers', () => {
    const expected = new Map<string, string>();
    for (let number = 0; number < 1_100; number += 1) {
      expected.set(`/bin/${number}`, put(`bin/${number}`, `program ${number}`));
    }
    for (const round of [1, 2]) {
      for (const [path, digest] of expected) {
        const found = of(path);
        assert.equal(found, digest, `${path} in round ${round}`);
      }
    }
  });

  describe('for a running process', () => {
    it('returns the hash of its image in /proc', () => {
      const expected = put('bin/a', 'program');
      live(77, at('bin/a'));
      assert.equal(of('/bin/a', { place: ALIVE }), expected);
      ahead = 5_000;
      assert.equal(of('/bin/a', { place: ALIVE }), expected);
      assert.equal(of('/bin/a', { place: ALIVE }), expected);
    });

    it("returns the hash of its image in a chroot, not of the host's file at that path", () => {
      const host = put('bin/sh', 'host');
      const chroot = put('srv/jail/bin/sh', 'chroot');
      live(77, at('srv/jail/bin/sh'));
      live(78, at('bin/sh'));
      ahead = 5_000;
      for (const _ of [1, 2, 3]) {
        assert.equal(of('/bin/sh', { place: ALIVE }), chroot);
        assert.equal(of('/bin/sh', { place: ALIVE, pid: 78 }), host);
      }
    });

    it('returns the hash of its image in a container', () => {
      put('bin/sh', 'host');
      const inside = put('var/lib/docker/overlay2/1/merged/bin/sh', 'inside');
      live(77, at('var/lib/docker/overlay2/1/merged/bin/sh'));
      ahead = 5_000;
      assert.equal(of('/bin/sh', { place: IN_CONTAINER }), inside);
      assert.equal(of('/bin/sh', { place: IN_CONTAINER }), inside);
      assert.equal(of('/bin/other', { place: IN_CONTAINER }), undefined);
    });

    it('returns the hash of the file at its path if it now runs another program', () => {
      const expected = put('bin/sh', 'shell');
      put('bin/ls', 'list');
      live(77, at('bin/ls'));
      assert.equal(of('/bin/sh', { place: ALIVE }), expected);
    });

    it('does not depend on who may execute it now', () => {
      const expected = put('bin/a', 'program', 0o600);
      live(77, at('bin/a'));
      assert.equal(of('/bin/a', { place: ALIVE }), expected);
    });
  });

  describe('for large files', () => {
    it('returns the hash from the next start on', async () => {
      const expected = put('bin/large', randomBytes(3 * MIB));
      assert.equal(of('/bin/large'), undefined);
      assert.equal(of('/bin/large'), undefined);
      await hashes.idle();
      assert.equal(of('/bin/large'), expected);
    });

    it('does not read files larger than 256 MiB', async () => {
      put('bin/huge', 'x');
      truncateSync(at('bin/huge'), 257 * MIB);
      assert.equal(of('/bin/huge'), undefined);
      await hashes.idle();
      assert.equal(of('/bin/huge'), undefined);
      assert.deepEqual(waits, []);
    });

    it('returns undefined for files that change while they are read, until they are read again', async () => {
      put('bin/large', randomBytes(3 * MIB));
      slowness = 10;
      duringSleep = () => {
        if (waits.length === 4) appendFileSync(at('bin/large'), 'x');
      };
      assert.equal(of('/bin/large'), undefined);
      await hashes.idle();
      assert.ok(waits.length > 4);
      const later = new Date(Date.now() + 60_000);
      ahead = 60_000;
      assert.equal(of('/bin/large', { startedAt: later }), undefined);
      await hashes.idle();
      assert.equal(of('/bin/large', { startedAt: later }), sha256(readFileSync(at('bin/large'))));
    });

    it('returns undefined if the file is removed before it is read', async () => {
      put('bin/large', randomBytes(3 * MIB));
      assert.equal(of('/bin/large'), undefined);
      unlinkSync(at('bin/large'));
      await hashes.idle();
      const expected = put('bin/large', 'small');
      assert.equal(of('/bin/large', { startedAt: undefined }), expected);
    });

    it('waits during many starts, but not indefinitely', async () => {
      const large = put('bin/large', randomBytes(3 * MIB));
      duringSleep = () => {
        for (let start = 0; start < 30; start += 1) of('/bin/other');
      };
      assert.equal(of('/bin/large'), undefined);
      await hashes.idle();
      assert.ok(monotonic >= 60_000 && monotonic < 70_000, `${monotonic}`);
      duringSleep = () => {};
      assert.equal(of('/bin/large'), large);
    });

    it('reads one file after the other, with at most 32 waiting', async () => {
      const expected = Array.from({ length: 40 }, (_, number) =>
        put(`bin/${number}`, Buffer.alloc(2 * MIB + 40 - number, number)),
      );
      const known = () => expected.filter((digest, number) => of(`/bin/${number}`) === digest).length;
      assert.equal(known(), 0);
      await hashes.idle();
      assert.equal(known(), 32);
      await hashes.idle();
      assert.equal(known(), 40);
    });

    it('uses at most a fiftieth of the time, and at most a tenth of a second without a pause', async () => {
      const expected = put('bin/large', randomBytes(64 * MIB));
      still = Math.ceil(statSync(at('bin/large')).ctimeMs); // or it has settled by now, on a busy machine
      slowness = 0.25; // of a slow machine: a slice takes 0.5 ms
      assert.equal(of('/bin/large'), undefined);
      await hashes.idle();
      const [, , ...pauses] = waits; // the first ones: until it is settled, and until the time is there
      const waited = pauses.reduce((all, wait) => all + wait, 0);
      const worked = monotonic - waits.reduce((all, wait) => all + wait, 0);
      assert.ok(worked > 100 && worked <= 50 + waited / 50 + 2 * pauses.length, `${worked} worked, ${waited} waited`);
      assert.ok(
        pauses.every((wait) => wait >= 50),
        `${pauses}`,
      );
      assert.equal(of('/bin/large'), expected);
    });
  });

  describe('under load', () => {
    it('postpones hashes once the saved-up time is spent', async () => {
      const expected = Array.from({ length: 150 }, (_, number) => put(`bin/${number}`, `program ${number}`));
      const known = () => expected.filter((digest, number) => of(`/bin/${number}`) === digest).length;
      slowness = 1; // about 5 ms per file
      const atOnce = known();
      assert.ok(atOnce > 20 && atOnce < 120, `${atOnce}`);
      slowness = 0;
      await hashes.idle();
      monotonic += 10_000;
      for (let round = 0; round < 3; round += 1) {
        known();
        await hashes.idle();
      }
      assert.equal(known(), 150);
    });

    it('postpones the hash of a file that takes too long', async () => {
      const expected = put('bin/slow', randomBytes(MIB));
      slowness = 4;
      assert.equal(of('/bin/slow'), undefined);
      slowness = 0;
      await hashes.idle();
      assert.equal(of('/bin/slow'), expected);
    });
  });

  describe('for omitted hashes', () => {
    it('reports the reason', async () => {
      put('bin/huge', 'x');
      truncateSync(at('bin/huge'), 257 * MIB);
      assert.equal(why('/bin/huge'), 'size');
      assert.equal(why('/bin/huge'), 'size');
      const large = put('bin/large', randomBytes(3 * MIB));
      assert.equal(why('/bin/large'), 'budget');
      assert.equal(why('/bin/large'), 'budget');
      await hashes.idle();
      assert.deepEqual(asked('/bin/large'), { sha256: large, omitted: undefined });
      for (const path of ['', '/bin/none', 'bin/large', '/memfd:a (deleted)']) assert.equal(why(path), 'unreadable');
      assert.equal(why('/bin/large', { place: { ...IN_CONTAINER, gone: true } }), 'unreadable');
      ahead = 0;
      const startedAt = now();
      await pause();
      replace('bin/large', 'another');
      assert.equal(why('/bin/large', { startedAt }), 'unreadable');
    });

    it('omits hashes of programs on a file system that is not local', async function () {
      require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
      // /proc stands for one: it is in the list of mounts, and not among those that count.
      assert.equal(new ExecutableHashes({ hostRoot: '/', clock }).of(ended('/proc/version'), GONE).omitted, 'mount');
    });

    it('omits the hash of a running process whose program is unreadable for that reason', () => {
      for (const reason of ['mount', 'budget'] as const) {
        const files = { image: () => reason, at: () => assert.fail() } as unknown as LocalFiles;
        assert.equal(new ExecutableHashes({ hostRoot: '/', clock, files }).of(ended('/bin/x'), ALIVE).omitted, reason);
      }
    });
  });

  const ended = (executable: string) => ({ pid: 2 ** 30, parentPid: 1, userId: 0, executable });

  describe('if a user starts new programs continuously', () => {
    const FLOOD = 400;
    const MALLORY = { userId: 1_000 };
    const digests: string[] = [];
    const flood = (make: (number: number) => Buffer | string, user = MALLORY) => {
      let known = 0;
      for (let number = 0; number < FLOOD; number += 1) {
        const path = `tmp/${user.userId}/${number}`;
        digests[number] = put(path, make(number));
        if (of(`/${path}`, user) === digests[number]) known += 1;
      }
      return known;
    };

    it('reserves time for other users, and more for root', () => {
      slowness = 1; // some milliseconds a file
      const known = flood((number) => `program ${number}`);
      assert.ok(known > 2 && known < 30, `${known}`);
      assert.equal(why(`/tmp/1000/${FLOOD - 1}`, MALLORY), 'budget');
      const alices = put('home/alice/bin/a', 'program of Alice');
      assert.equal(of('/home/alice/bin/a', { userId: 1_001 }), alices);
      const roots = put('usr/bin/a', 'program of root');
      assert.equal(of('/usr/bin/a'), roots);
    });

    it("reserves root's time even if the user has many user ids", () => {
      slowness = 1;
      for (let userId = 100_000; userId < 100_050; userId += 1) {
        for (let number = 0; number < 4; number += 1) {
          put(`tmp/${userId}/${number}`, `program ${number}`);
          of(`/tmp/${userId}/${number}`, { userId });
        }
      }
      put('home/alice/bin/a', 'program of Alice');
      assert.equal(why('/home/alice/bin/a', { userId: 1_001 }), 'budget');
      const roots = Array.from({ length: 4 }, (_, number) => put(`usr/bin/${number}`, `program ${number} of root`));
      roots.forEach((digest, number) => {
        assert.equal(of(`/usr/bin/${number}`), digest);
      });
    });

    it('counts by the user who logged in, regardless of the user ids of their programs', () => {
      slowness = 1;
      let known = 0;
      for (let userId = 100_000; userId < 100_100; userId += 1) {
        const digest = put(`tmp/${userId}`, `program ${userId}`);
        if (of(`/tmp/${userId}`, { userId, loginUserId: 1_000 }) === digest) known += 1;
      }
      assert.ok(known < 30, `${known}`);
      assert.equal(of('/usr/bin/a', { userId: 1_001 }), undefined);
      const alices = put('home/alice/bin/a', 'program of Alice');
      assert.equal(of('/home/alice/bin/a', { userId: 1_001 }), alices);
    });

    it("does not delay other users' large files", async () => {
      for (let number = 0; number < 40; number += 1) {
        put(`tmp/${number}`, Buffer.alloc(2 * MIB + 1, number));
        assert.equal(why(`/tmp/${number}`, MALLORY), 'budget');
      }
      const alices = put('home/alice/bin/a', Buffer.alloc(16 * MIB, 'alice'));
      const roots = put('usr/bin/a', Buffer.alloc(16 * MIB, 'root'));
      assert.equal(why('/home/alice/bin/a', { userId: 1_001 }), 'budget');
      assert.equal(why('/usr/bin/a'), 'budget');
      slowness = 0.25; // a slice takes half a millisecond, and all that wait some minutes
      const at = new Map<string, number>();
      duringSleep = () => {
        // Continuous program starts must not postpone the digests indefinitely.
        for (let start = 0; start < 30; start += 1) of('', MALLORY);
        if (waits.length > 10_000) throw new Error('it goes on for ever');
        if (waits.length % 5 !== 0) return; // a question takes time, too
        if (of('/usr/bin/a') === roots && !at.has('root')) at.set('root', monotonic);
      };
      const began = monotonic;
      await hashes.idle();
      const all = monotonic - began;
      const root = (at.get('root') ?? Number.POSITIVE_INFINITY) - began;
      assert.ok(root < all && root < 70_000, `root ${root}, all ${all}`);
      assert.equal(of('/home/alice/bin/a', { userId: 1_001 }), alices);
    });
  });

  describe('does not read', () => {
    for (const [what, make] of Object.entries({
      'a FIFO': (path: string) => execFileSync('mkfifo', ['-m', '755', path]),
      'a folder': (path: string) => mkdirSync(path),
      'a link': (path: string) => symlinkSync('/bin/sh', path),
      'a link to a device': (path: string) => symlinkSync('/dev/zero', path),
      'an empty file': (path: string) => writeFileSync(path, '', { mode: 0o755 }),
      'a file that nobody may execute': (path: string) => writeFileSync(path, 'text', { mode: 0o644 }),
    })) {
      it(what, async () => {
        make(at('it'));
        assert.equal(of('/it'), undefined);
        await hashes.idle();
        assert.equal(of('/it'), undefined);
      });
    }

    for (const path of [
      '/dev/zero',
      '/dev/tty',
      '/proc/version',
      '/proc/kmsg',
      '/proc/self/mem',
      '/sys/kernel/uevent_seqnum',
    ]) {
      it(path, async () => {
        const host = new ExecutableHashes({ hostRoot: '/', clock: systemClock });
        assert.equal(host.of({ pid: 2 ** 30, parentPid: 1, userId: 0, executable: path }, GONE).sha256, undefined);
        await host.idle();
      });
    }

    it('skips a file that is unreadable', () => {
      put('bin/a', 'program', 0o111);
      const isRoot = process.getuid?.() === 0;
      if (isRoot) chmodSync(hostRoot, 0o755);
      if (isRoot) process.seteuid?.(65_534); // root may read all
      try {
        assert.equal(of('/bin/a'), undefined);
      } finally {
        if (isRoot) process.seteuid?.(0);
      }
    });

    it('skips a file with an unknown path', () => assert.equal(of('', { place: ALIVE }), undefined));
  });

  it('accepts any path', async () => {
    put('bin/a', 'program');
    const path = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.constantFrom('/', '..', '.', 'bin', 'a', ' (deleted)', '\0', 'proc', 'x'.repeat(300)))
        .map((p) => p.join('')),
    );
    fc.assert(
      fc.property(
        path,
        fc.boolean(),
        fc.boolean(),
        fc.option(fc.date(), { nil: undefined }),
        (text, onHost, gone, startedAt) => {
          const found = of(text, { place: { container: undefined, onHost, gone }, startedAt });
          if (found !== undefined) assert.match(found, /^[0-9a-f]{64}$/);
        },
      ),
      { numRuns: fuzzRuns(20_000) },
    );
  });
});

describe('ExecutableHashes on real processes', () => {
  const hashes = new ExecutableHashes({ hostRoot: '/', clock: systemClock });
  let folder: string;
  let child: ChildProcess | undefined;

  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(async () => {
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    child = undefined;
  });

  /** Runs a program until it is killed. */
  async function run(path: string): Promise<number> {
    child = spawn(path, [], { argv0: 'cat', stdio: ['pipe', 'ignore', 'ignore'] });
    await once(child, 'spawn');
    return child.pid ?? 0;
  }
  const of = (pid: number, executable: string, place = ALIVE, startedAt: Date | undefined = new Date()) =>
    hashes.of({ pid, parentPid: process.pid, userId: 0, executable, startedAt }, place).sha256;
  /** A file that takes long to read is read in the background: on a busy machine, that can be any. */
  const atLast = async (ask: () => string | undefined) => {
    const first = ask();
    if (first !== undefined) return first;
    await hashes.idle();
    return ask();
  };
  const image = () => {
    const path = join(folder, 'program');
    copyFileSync(realpathSync('/bin/cat'), path);
    chmodSync(path, 0o755);
    return path;
  };

  it('returns the hashes of their files', async () => {
    const path = realpathSync('/bin/cat');
    const pid = await run(path);
    assert.equal(await atLast(() => of(pid, path)), sha256(readFileSync(path)));
    child?.kill('SIGKILL');
    await once(child as ChildProcess, 'exit');
    assert.equal(of(pid, path), sha256(readFileSync(path)));
    assert.equal(of(pid, path, GONE), sha256(readFileSync(path)));
  });

  it('returns the hashes of deleted files', async () => {
    const path = image();
    const expected = sha256(readFileSync(path));
    const pid = await run(path);
    unlinkSync(path);
    for (const name of [path, `${path} (deleted)`, path]) assert.equal(await atLast(() => of(pid, name)), expected);
  });

  it('ignores files that replaced the originals', async () => {
    const path = image();
    const expected = sha256(readFileSync(path));
    const pid = await run(path);
    writeFileSync(`${path}.new`, 'harmless', { mode: 0o755 });
    renameSync(`${path}.new`, path);
    for (const _ of [1, 2]) {
      assert.equal(await atLast(() => of(pid, path)), expected);
      const later = new Date(Date.now() + 20);
      assert.equal(await atLast(() => of(pid, path, GONE, later)), sha256('harmless'));
    }
  });

  it("hashes a large file in the background: Node's own @release", async () => {
    const path = realpathSync(process.execPath);
    const first = of(process.pid, path);
    await hashes.idle();
    const expected = sha256(readFileSync(path));
    assert.ok(first === undefined || first === expected);
    assert.equal(of(process.pid, path), expected);
  }).timeout(120_000);
});

describe('ExecutableHashes in the agent’s own mounts', () => {
  it('reads the files that the first process sees', async function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    const folder = mkdtempSync(join(tmpdir(), 'vakt-hidden-'));
    try {
      const program = join(folder, 'program');
      writeFileSync(program, 'what the host has there', { mode: 0o755 });
      await tickOf(folder); // a change must lie before the start, or the digest may be another file's
      const script = new URL('hidden-executable.js', import.meta.url).pathname;
      // A shell that is the first process of processes of its own, and another that sees other files than that.
      // As the agent's user: capabilities are not all that counts, access(2) does without them.
      const caps = '+sys_ptrace,+dac_read_search';
      const user = `setpriv --reuid=65534 --clear-groups --inh-caps=${caps} --ambient-caps=${caps}`;
      const hide = `mount -t tmpfs tmpfs "$1" && ! test -e "$1/program" && exec ${user} "$2" "$3" "$1/program"`;
      const first = 'unshare --mount --propagation private /bin/sh -c "$HIDE" sh "$@"; exit $?';
      const args = ['--pid', '--fork', '--mount-proc', '--propagation', 'private', '/bin/sh', '-c', first, 'sh'];
      const env = { ...process.env, HIDE: hide };
      const written = execFileSync('unshare', [...args, folder, process.execPath, script], { encoding: 'utf8', env });
      assert.equal(written, `${sha256('what the host has there')}\n`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
