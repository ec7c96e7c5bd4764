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

/** Their records, seven each, fit into the receive buffer of a listener that gets no CPU in that time. */
const STARTS = 800;

/** A rule of an administrator. */
const FOREIGN_RULE = ['/etc/shadow', '-p', 'wa', '-k', 'vakt-test-foreign'];
const linkOf = (path: string) => {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // closed since it was listed
  }
};
const auditctl = (...args: string[]) => spawnSync('/usr/sbin/auditctl', args);

describe('An agent alongside a real auditd', function () {
  this.timeout(180_000);
  let control: AuditControl;
  let atFirst: AuditStatus;
  let auditd: Auditd;
  let recorder: Recorder;
  let source: AuditSource | AuditLogSource | undefined;
  let running: Load | undefined;
  let skew: number;
  /** Can be set ahead, so that tests need not wait for half a minute. */
  const clock: Clock = { ...systemClock, monotonic: () => (systemClock.monotonic() + skew) as Duration };
  const logged: LogLine[] = [];
  const log = quietLog(logged);

  before(async function () {
    require(this, await missingForAudit());
    require(this, existsSync('/usr/sbin/auditd') ? undefined : 'auditd is not installed');
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    auditctl('-W', ...FOREIGN_RULE); // left over if an earlier run was killed
    atFirst = await control.status();
  });

  beforeEach(() => {
    skew = 0;
    logged.length = 0;
    recorder = new Recorder();
    auditd = new Auditd(control, temporaryFolder());
  });

  afterEach(async () => {
    await running?.end(); // if its test has failed
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
  /** Waits until further starts have been reported, so that the next step happens during the load. */
  const moreOf = async ({ mark }: Load) => {
    const seen = () => recorder.withArgument(mark).length;
    const before = seen();
    await until('more starts', () => seen() >= before + 50);
  };
  const ruleList = async () => (await control.rules()).map(({ data }) => data.toString('hex')).sort();

  /** Starts a program many times with numbered arguments, so that missing and duplicate starts can be found. */
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

  it("reads every record and changes neither auditd's registration nor its rules and settings", async () => {
    await auditd.start();
    const rule = auditctl('-w', ...FOREIGN_RULE);
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
      auditctl('-W', ...FOREIGN_RULE);
    }
  });

  it('hands the role of the audit daemon over to auditd and takes it back without losing a start', async () => {
    const opened = await listen();
    assert.deepEqual(opened.status(), { state: 'on', source: 'auditUnicast' });
    const load = startLoad();
    await moreOf(load);

    const attempts = await auditd.start();
    assert.ok(attempts > 1, 'the first attempt of auditd succeeded');
    assert.ok(attempts <= 15, `auditd failed ${attempts - 1} times`); // mostly once or twice; its unit tries five times
    await until('auditd in the status', () => opened.status().reason?.includes(`process ${auditd.pid}`) === true);
    await moreOf(load);

    await auditd.stop();
    assert.equal(await auditd.tryToStart(), undefined, 'auditd failed after a restart');
    await moreOf(load);

    await control.set({ backlogWaitTime: 60 });
    await auditd.stop();
    await until('the end of auditd in the status', () => opened.status().reason?.includes('just become free') === true);
    await until('the registration', () => {
      skew += milliseconds(200); // in small steps: a larger one would make requests in flight time out
      return opened.status().source === 'auditUnicast';
    });
    await moreOf(load);
    assert.equal((await control.status()).backlogWaitTime, RUNNING.backlogWaitTime);
    const started = await load.end();
    await close();
    assert.deepEqual(
      logged.filter(({ level }) => level === 'warn'),
      [],
      'it attributed its own changes to another process',
    );
    assertEachOnce(load.mark, started);
    assert.equal((await control.status()).pid, 0);
    assert.deepEqual(await ruleList(), []);
    process.stderr.write(
      `    ${started} programs through four changes of the role, auditd started at attempt ${attempts}\n`,
    );
  });

  it('restores its rules immediately after another process deletes all rules', async () => {
    await auditd.start();
    await listen();
    const present = (await ruleList()).length;
    auditctl('-D');
    assert.ok((await ruleList()).length < present);
    // Without the kernel's notice, it would find the change up to 30 s later.
    await until('the rules are back', async () => (await ruleList()).length === present, { limit: seconds(25) });
  });

  describe("with auditd's log as its source", () => {
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

    it('reports every start across a rotation', async () => {
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

    it('rejects a log that auditd does not write', async () => {
      await auditd.start();
      await auditd.stop();
      await assert.rejects(follow(), { id: 'AUDIT_UNAVAILABLE' });
      assert.deepEqual(await ruleList(), []);
    });

    it('rejects a missing log', () => assert.rejects(follow(), /ENOENT/));
  });

  describe('after a restart', () => {
    const mark = `away-${process.pid}`;
    const run = (word: string) => spawnSync('/bin/true', [mark, word]);
    const output: string[] = [];
    let follower: ChildProcess | undefined;

    const follow = async () => {
      const state = join(auditd.root, 'state');
      mkdirSync(state, { recursive: true });
      follower = spawn(process.execPath, ['dist/test/system/follow-events.js', mark, auditd.root, state], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      output.length = 0;
      follower.stdout?.setEncoding('utf8').on('data', (text: string) => output.push(...text.trim().split('\n')));
      await until('following', () => output.includes('following auditMulticast'));
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
    const words = () => output.filter((word) => word !== 'uno' && !word.startsWith('following'));

    beforeEach(async () => {
      await auditd.start();
      symlinkSync('/proc', join(auditd.root, 'proc'));
    });
    afterEach(() => end('SIGKILL'));

    it('reads the missed events once from the log', async () => {
      run('before the first time');
      await follow();
      run('one');
      await until('one', () => output.includes('one'));
      // The checkpoint is saved once all events of a drain have been delivered.
      const seen = systemClock.now().getTime();
      await until('the checkpoint', () => {
        run('uno'); // the kernel's time of an event is that of its last tick, which may be before `seen`
        return marked() >= seen;
      });
      await end('SIGKILL'); // its rules stay, and auditd still runs
      run('two');
      await auditd.rotate();
      run('three');
      await follow();
      run('four');
      await until('all', () => ['four', 'three', 'two'].every((word) => output.includes(word)));
      await end('SIGTERM');
      assert.deepEqual(words().sort(), ['four', 'three', 'two']);

      await follow();
      run('five');
      await until('a read of the log', readsLog);
      await until('the end of the read', () => !readsLog());
      await until('five', () => output.includes('five'));
      await end('SIGTERM');
      assert.deepEqual(words(), ['five']);
    });
  });
});
