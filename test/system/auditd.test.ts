import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { AuditLogSource } from '../../src/agent/linux/audit/audit-log-source.ts';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { Checkpoint } from '../../src/agent/linux/audit/checkpoint.ts';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import type { AuditRule } from '../../src/agent/linux/audit/rules.ts';
import { type AuditStatus, RUNNING } from '../../src/agent/linux/audit/status.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { type Clock, systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/core/base/duration.ts';
import type { LogLine } from '../../src/core/base/log.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { Auditd } from './auditd.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { Recorder } from './recorder.ts';

const RULES: readonly AuditRule[] = [{ syscalls: ['execve', 'execveat'] }];

/** Their records, seven each, fit into the buffer of a listener that gets no processor meanwhile. */
const STARTS = 800;

/** A rule of an administrator's. */
const THEIRS = ['/etc/shadow', '-p', 'wa', '-k', 'vakt-test-theirs'];
const linkOf = (path: string) => {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // closed meanwhile
  }
};
const auditctl = (...args: string[]) => spawnSync('/usr/sbin/auditctl', args);

describe('beside a real auditd', function () {
  this.timeout(180_000);
  let control: AuditControl;
  let atFirst: AuditStatus;
  let auditd: Auditd;
  let recorder: Recorder;
  let source: AuditSource | AuditLogSource | undefined;
  let running: Load | undefined;
  let skew: number;
  /** Can be made to run fast, so that nobody waits for half a minute. */
  const clock: Clock = { ...systemClock, monotonic: () => (systemClock.monotonic() + skew) as Duration };
  const logged: LogLine[] = [];
  const log = quietLog(logged);

  before(async function () {
    require(this, await missingForAudit());
    require(this, existsSync('/usr/sbin/auditd') ? undefined : 'auditd is not installed');
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    auditctl('-W', ...THEIRS); // there, if an earlier run was killed
    atFirst = await control.status();
  });

  beforeEach(() => {
    skew = 0;
    logged.length = 0;
    recorder = new Recorder();
    auditd = new Auditd(control, temporaryFolder());
  });

  afterEach(async () => {
    await running?.end(); // also when its test has failed
    running = undefined;
    await source?.close();
    source = undefined;
    await auditd.remove();
    for (const rule of await control.rules()) if (rule.ours) await control.deleteRule(rule.data);
    const { enabled, failure, backlogLimit, backlogWaitTime } = atFirst;
    await control.set({ enabled, failure, backlogLimit, backlogWaitTime });
  });

  after(() => control?.close());

  const listen = async () => {
    const opened = new AuditSource({ rules: () => RULES, sink: recorder, clock, log });
    source = opened;
    await opened.open();
    return opened;
  };
  const close = async () => {
    await source?.close();
    source = undefined;
  };
  /** Until programs have been reported that were started since, so that what follows happens while many are. */
  const moreOf = async ({ mark }: Load) => {
    const seen = () => recorder.withArgument(mark).length;
    const before = seen();
    await until('more starts', () => seen() >= before + 50);
  };
  const ruleList = async () => (await control.rules()).map(({ data }) => data.toString('hex')).sort();

  /** Starts a program many times; a run of its own each, so that what is missing or twice can be told. */
  class Load {
    readonly mark = `load-${process.pid}-${Math.round(systemClock.monotonic())}`;
    readonly #stop = new AbortController();
    readonly #done: Promise<number>;

    constructor() {
      this.#done = this.#run();
    }

    async #run(): Promise<number> {
      let started = 0;
      for (; !this.#stop.signal.aborted; started += 1) {
        await once(spawn('/bin/true', [this.mark, String(started)], { stdio: 'ignore' }), 'exit');
      }
      return started;
    }

    async end(): Promise<number> {
      this.#stop.abort();
      return this.#done;
    }
  }

  const startLoad = () => {
    running = new Load();
    return running;
  };

  const assertEachOnce = (mark: string, started: number) => {
    const seen = recorder.withArgument(mark).map(({ argv }) => Number(argv?.[2]));
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      Array.from({ length: started }, (_, index) => index),
    );
    assert.equal(recorder.lostEvents, 0);
  };

  it('reads every record, and leaves its slot, rules and settings alone', async () => {
    await auditd.start();
    const rule = auditctl('-w', ...THEIRS);
    assert.equal(rule.status, 0, String(rule.stderr));
    try {
      const [status, rules] = [await control.status(), await ruleList()];
      const opened = await listen();
      const { reason, ...state } = opened.status();
      assert.deepEqual(state, { state: 'on', source: 'auditMulticast' });
      assert.match(reason ?? '', new RegExp(`process ${auditd.pid}\\b`));
      const mark = 'beside-auditd';
      const loop = `i=0; while [ $i -lt ${STARTS / 2} ]; do /bin/true ${mark} $0$i; i=$((i+1)); done`;
      await Promise.all(
        [1, 2].map((n) => once(spawn('/bin/sh', ['-c', loop, String(n)], { stdio: 'ignore' }), 'exit')),
      );
      const settingsOf = ({ lost: _, backlog: __, ...settings }: AuditStatus) => settings;
      assert.deepEqual(settingsOf(await control.status()), settingsOf(status));
      for (const each of rules) assert.ok((await ruleList()).includes(each));
      await close();
      const seen = recorder.withArgument(mark).filter(({ argv }) => argv?.[0] === '/bin/true');
      assert.equal(seen.length, STARTS);
      assert.equal(new Set(seen.map(({ serial }) => serial)).size, STARTS);
      assert.equal(recorder.lostEvents, 0);
      assert.deepEqual(await ruleList(), rules);
      assert.equal((await control.status()).pid, auditd.pid);
    } finally {
      auditctl('-W', ...THEIRS);
    }
  });

  it('gives it the slot when it starts later, takes the slot again when it has gone, and misses nothing', async () => {
    const opened = await listen();
    assert.deepEqual(opened.status(), { state: 'on', source: 'auditUnicast' });
    const load = startLoad();
    await moreOf(load);

    const attempts = await auditd.start();
    assert.ok(attempts > 1, 'it was not refused at first');
    assert.ok(attempts <= 15, `it was refused ${attempts - 1} times`); // mostly once or twice; its unit tries five times
    await until('beside it', () => opened.status().reason?.includes(`process ${auditd.pid}`) === true);
    await moreOf(load);

    await auditd.stop();
    assert.equal(await auditd.tryToStart(), undefined, 'it was refused after a restart');
    await moreOf(load);

    await control.set({ backlogWaitTime: 60 });
    await auditd.stop();
    await until('that it has gone', () => opened.status().reason?.includes('just become free') === true);
    await until('the slot', () => {
      skew += milliseconds(200); // not all at once: a request that is under way would seem to go unanswered
      return opened.status().source === 'auditUnicast';
    });
    await moreOf(load);
    assert.equal((await control.status()).backlogWaitTime, RUNNING.backlogWaitTime);
    const started = await load.end();
    await close();
    assert.deepEqual(
      logged.filter(({ level }) => level === 'warn'),
      [],
      'it takes for others what it has done itself',
    );
    assertEachOnce(load.mark, started);
    assert.equal((await control.status()).pid, 0);
    assert.deepEqual(await ruleList(), []);
    process.stderr.write(
      `    ${started} programs through four changes of the role, auditd started at attempt ${attempts}\n`,
    );
  });

  it('has its rules back at once when somebody flushes all of them', async () => {
    await auditd.start();
    await listen();
    const present = (await ruleList()).length;
    auditctl('-D');
    assert.ok((await ruleList()).length < present);
    // Without the kernel's notice it would take until the next look at the rules, which is up to 30 s later.
    await until('the rules are back', async () => (await ruleList()).length === present, { limit: seconds(25) });
  });

  describe('its log', () => {
    const follow = async (from?: () => { since?: number }) => {
      const opened = new AuditLogSource({
        rules: () => RULES,
        sink: recorder,
        clock,
        log,
        hostRoot: auditd.root,
        ...(from === undefined ? {} : { from }),
      });
      source = opened;
      await opened.open();
    };

    it('tells of every start, over a rotation', async () => {
      await auditd.start();
      await follow();
      const load = startLoad();
      await moreOf(load);
      await auditd.rotate();
      await moreOf(load);
      const started = await load.end();
      await until('all are there', () => recorder.withArgument(load.mark).length >= started);
      await close();
      assertEachOnce(load.mark, started);
      assert.deepEqual(await ruleList(), []);
    });

    it('is refused when nobody writes it', async () => {
      await auditd.start();
      await auditd.stop();
      await assert.rejects(follow(), { id: 'AUDIT_UNAVAILABLE' });
      assert.deepEqual(await ruleList(), []);
    });

    it('is refused when it is not there', () => assert.rejects(follow(), /ENOENT/));
  });

  describe('an agent that was away', () => {
    const mark = `away-${process.pid}`;
    const run = (word: string) => spawnSync('/bin/true', [mark, word]);
    const said: string[] = [];
    let follower: ChildProcess | undefined;

    const follow = async () => {
      const state = join(auditd.root, 'state');
      mkdirSync(state, { recursive: true });
      follower = spawn(process.execPath, ['dist/test/system/follow-events.js', mark, auditd.root, state], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      said.length = 0;
      follower.stdout?.setEncoding('utf8').on('data', (text: string) => said.push(...text.trim().split('\n')));
      await until('following', () => said.includes('following auditMulticast'));
    };
    const end = async (signal: NodeJS.Signals) => {
      if (follower === undefined || follower.exitCode !== null || follower.signalCode !== null) return;
      const ended = once(follower, 'exit');
      follower.kill(signal);
      await ended;
    };
    const marked = () => {
      const checkpoint = new Checkpoint(join(auditd.root, 'state/audit-checkpoint.json'), '');
      return checkpoint.read()?.timeMs ?? 0;
    };
    const readsLog = () => {
      const folder = `/proc/${follower?.pid}/fd`;
      return readdirSync(folder).some((fd) => linkOf(join(folder, fd)) === auditd.log);
    };
    const words = () => said.filter((word) => word !== 'uno' && !word.startsWith('following'));

    beforeEach(async () => {
      await auditd.start();
      symlinkSync('/proc', join(auditd.root, 'proc'));
    });
    afterEach(() => end('SIGKILL'));

    it('reads in the log what it has missed, once', async () => {
      run('before the first time');
      await follow();
      run('one');
      await until('one', () => said.includes('one'));
      // The mark is set when all of a drain has been handed over.
      const seen = systemClock.now().getTime();
      await until('the mark', () => {
        run('uno'); // the kernel's time of an event is that of its last tick, which may be before `seen`
        return marked() >= seen;
      });
      await end('SIGKILL'); // its rules stay, and auditd goes on
      run('two');
      await auditd.rotate();
      run('three');
      await follow();
      run('four');
      await until('all', () => ['four', 'three', 'two'].every((word) => said.includes(word)));
      await end('SIGTERM');
      assert.deepEqual(words().sort(), ['four', 'three', 'two']);

      await follow();
      run('five');
      await until('a look into the log', readsLog);
      await until('the end of it', () => !readsLog());
      await until('five', () => said.includes('five'));
      await end('SIGTERM');
      assert.deepEqual(words(), ['five']);
    });
  });
});
