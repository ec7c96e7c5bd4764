import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { type AuditEvent, isStart } from '../../src/agent/linux/audit/event.ts';
import type { AuditRule } from '../../src/agent/linux/audit/rules.ts';
import { excludeRule, memoRule, syscallRules } from '../../src/agent/linux/audit/rules.ts';
import type { AuditStatus } from '../../src/agent/linux/audit/status.ts';
import { abisOf } from '../../src/agent/linux/audit/syscalls.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { SourceLadder } from '../../src/agent/linux/streams/source-ladder.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { aboutCalls, EQUAL, EXIT, foreignRule, NEVER, TASK_NEVER, UID } from '../agent/linux/audit/foreign-rule.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { elf32 } from './elf32.ts';
import { forks } from './forks.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { Recorder } from './recorder.ts';

const EXECS: readonly AuditRule[] = [{ syscalls: ['execve', 'execveat'] }];
const ORIGINAL = { enabled: 0, failure: 1, backlogLimit: 64, backlogWaitTime: 15_000 };

/** Takes a millisecond for each event. */
class SlowRecorder extends Recorder {
  override accept(events: readonly AuditEvent[]): void {
    super.accept(events);
    for (const end = performance.now() + events.length; performance.now() < end; );
  }
}

describe('AuditSource', function () {
  this.timeout(180_000);
  let control: AuditControl;
  let atFirst: AuditStatus;
  let folder: string;
  let recorder: Recorder;
  let source: AuditSource | undefined;
  let child: ChildProcess | undefined;
  let rules: readonly AuditRule[];
  const log = pino({ level: 'silent' });

  before(async function () {
    require(this, await missingForAudit());
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    atFirst = await control.status();
    folder = suiteFolder();
  });

  beforeEach(async () => {
    rules = EXECS;
    recorder = new Recorder();
    await control.set(ORIGINAL);
  });

  afterEach(async () => {
    await source?.close();
    source = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    child = undefined;
    for (const rule of await control.rules()) if (rule.ours) await control.deleteRule(rule.data);
    const { enabled, failure, backlogLimit, backlogWaitTime } = atFirst;
    await control.set({ enabled, failure, backlogLimit, backlogWaitTime });
  });

  after(() => {
    control?.close();
  });

  const open = async () => {
    source = new AuditSource({ rules: () => rules, sink: recorder, clock: systemClock, log });
    await source.open();
    return source;
  };

  /** The last drain is part of closing. */
  const close = async () => {
    await source?.close();
    source = undefined;
  };

  const hold = async (...args: string[]): Promise<number> => {
    child = spawn(process.execPath, ['dist/test/system/hold-audit.js', ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    assert.ok(child.stdout && child.pid);
    await once(child.stdout, 'data');
    return child.pid;
  };

  const ourRules = async () => (await control.rules()).filter(({ ours }) => ours);

  const settings = async () => {
    const { enabled, failure, backlogLimit, backlogWaitTime, pid } = await control.status();
    return { enabled, failure, backlogLimit, backlogWaitTime, pid };
  };

  describe('AuditEvent.argv', () => {
    const cases: Record<string, string[]> = {
      'spaces, quotes and newlines': ['a b', '"', "'", 'line\nend', '\t'],
      'empty strings': ['', '', ''],
      'strings that look encoded': ['(null)', '2F62696E', 'a1="x"', 'a1[0]=', 'é'],
      'UTF-8': ['ångström', '日本語', '😀'],
      'one of 120,000 bytes': ['x'.repeat(120_000), 'end'],
      'one of 110,001 bytes, partly not ASCII': [`${'x'.repeat(60_000)} ${'å'.repeat(25_000)}`, 'end'],
      'one of 7,400 bytes': ['y'.repeat(7_400)],
      '2,000 arguments': Array.from({ length: 2_000 }, (_, index) => `argument ${index}`),
    };
    for (const [description, args] of Object.entries(cases)) {
      it(`contains all arguments unchanged: ${description}`, async () => {
        await open();
        const mark = `mark-${process.hrtime.bigint()}`;
        const { pid } = spawnSync('/bin/true', [mark, ...args], { cwd: '/tmp' });
        await close();
        const [event, ...more] = recorder.withArgument(mark);
        assert.deepEqual(event?.argv, ['/bin/true', mark, ...args]);
        assert.equal(more.length, 0);
        assert.equal(event?.argvBytesCut, undefined);
        assert.equal(event?.cwd, '/tmp');
        assert.equal(event?.syscall, 'execve');
        assert.equal(event?.success, true);
        assert.equal(event?.fields.pid, String(pid));
        assert.equal(event?.fields.ppid, String(process.pid));
        assert.equal(event?.fields.exe, '/usr/bin/true');
        assert.ok(Math.abs(Date.now() - Number(event?.time)) < 30_000);
      });
    }

    it('is truncated after 128 KiB, and argvBytesCut has the number of missing bytes', async () => {
      await open();
      const args = Array.from({ length: 3 }, () => 'x'.repeat(100_000));
      spawnSync('/bin/true', ['cut-here', ...args]);
      await close();
      const [event] = recorder.withArgument('cut-here');
      const kept = event?.argv?.reduce((all, argument) => all + argument.length + 1, 0) ?? 0;
      assert.ok(kept >= 128 * 1024 && kept <= 128 * 1024 + 1, String(kept));
      assert.equal(
        (event?.argvBytesCut ?? 0) + kept,
        ['/bin/true', 'cut-here', ...args].reduce((n, a) => n + a.length + 1, 0) - 1,
      );
    });

    it('has U+FFFD in place of invalid UTF-8', async () => {
      await open();
      spawnSync('/bin/sh', ['-c', 'exec /bin/true broken "$(printf "x\\377\\376y")"']);
      await close();
      assert.deepEqual(recorder.withArgument('broken')[0]?.argv, ['/bin/true', 'broken', 'x\ufffd\ufffdy']);
    });
  });

  it('reports a failed execve with its errno', async () => {
    await open();
    writeFileSync(join(folder, 'not a program'), 'x', { mode: 0o755 });
    spawnSync(join(folder, 'not a program'), ['x']);
    await close();
    const failed = recorder.events.filter(({ fields, success }) => fields.ppid === String(process.pid) && !success);
    assert.deepEqual(
      failed.map(({ syscall, fields }) => [syscall, fields.exit]),
      [['execve', '-8']],
    );
  });

  it('reports execveat', async function () {
    const python = spawnSync('/usr/bin/python3', ['-c', 'import os; print(os.execve in os.supports_fd)']);
    require(this, python.stdout?.includes('True') ? undefined : 'there is no python3 to call fexecve');
    await open();
    spawnSync('/usr/bin/python3', [
      '-c',
      'import os; f = os.open("/bin/true", os.O_RDONLY); os.execve(f, ["by-descriptor", "x"], {})',
    ]);
    await close();
    const [event] = recorder.withArgument('by-descriptor');
    assert.deepEqual(event?.argv, ['by-descriptor', 'x']);
    assert.equal(event?.syscall, 'execveat');
    assert.equal(event?.fields.exe, '/usr/bin/true');
  });

  it('reports a program that a 32-bit program starts', async function () {
    require(this, process.arch === 'x64' ? undefined : 'this is not x86_64');
    const program = join(folder, 'elf32');
    writeFileSync(program, elf32(), { mode: 0o755 });
    await open();
    const { status, error } = spawnSync(program);
    require(this, error === undefined ? undefined : 'the kernel runs no 32-bit programs');
    await close();
    assert.equal(status, 0);
    const [event] = recorder.withArgument('from 32 bits');
    assert.deepEqual(event?.argv, ['/bin/true', 'from 32 bits']);
    assert.equal(event?.abi, 'b32');
    assert.equal(event?.syscall, 'execve');
  });

  it('reports each of 2,000 short programs once', async () => {
    await open();
    const mark = `run-${process.pid}`;
    const loop = `i=0; while [ $i -lt 1000 ]; do /bin/true ${mark} $0 $i; i=$((i+1)); done`;
    const loops = ['a', 'b'].map((name) => spawn('/bin/sh', ['-c', loop, name], { stdio: 'ignore' }));
    await Promise.all(loops.map((each) => once(each, 'exit')));
    await close();
    const events = recorder.withArgument(mark).filter(({ argv }) => argv?.[0] === '/bin/true');
    assert.equal(events.length, 2_000);
    assert.equal(new Set(events.map(({ argv }) => argv?.slice(2).join(' '))).size, 2_000);
    assert.equal(new Set(recorder.events.map(({ serial }) => serial)).size, recorder.events.length);
    assert.equal(recorder.lostEvents, 0);
  });

  it('counts the events that are lost while it cannot read @release', async () => {
    await open();
    const loop = (name: string) => `(i=0; while [ $i -lt 5000 ]; do /bin/true stalled ${name} $i; i=$((i+1)); done) &`;
    const before = forks();
    spawnSync('/bin/sh', ['-c', `${loop('a')} ${loop('b')} wait`]); // blocks this thread, which would read
    await close();
    const foreignForks = Math.max(0, forks() - before - 10_000);
    const seen = recorder.events.filter(({ argv }) => argv?.[1] === 'stalled').length;
    // A start that arrived without arguments isn't lost: a collector counts it as malformed.
    const broken = recorder.events.filter(
      (event) => isStart(event) && event.argv === undefined && event.fields.exe?.endsWith('/true'),
    ).length;
    const missing = 10_000 - seen - broken;
    assert.ok(recorder.lostEvents >= missing, `${missing} are missing, ${recorder.lostEvents} were counted`);
    // Starts of other programs are lost, too. Each may have tried several directories of PATH.
    assert.ok(
      recorder.lostEvents <= missing * 1.1 + 100 + foreignForks * 10,
      `${missing} are missing, ${recorder.lostEvents} were counted; ${foreignForks} other processes and threads started`,
    );
    process.stderr.write(`    ${missing} of 10,000 are missing, ${recorder.lostEvents} were counted\n`);
  });

  it('counts lost events and closes while records arrive faster than it reads them', async () => {
    rules = [{ syscalls: ['connect'] }];
    recorder = new SlowRecorder();
    await open();
    child = spawn('bash', ['-c', 'while :; do exec 3<>/dev/udp/127.0.0.1/9; done'], { stdio: 'ignore' });
    await until('a loss to be counted', () => recorder.lostEvents > 0, { limit: seconds(90) });
    await close();
    assert.equal(child.exitCode, null, 'the source of records exited');
    assert.deepEqual(await ourRules(), []);
  });

  describe('its rules', () => {
    it('lists each rule as it was written', async () => {
      const written = [
        ...syscallRules([{ syscalls: ['execve', 'connect', 'accept4'] }], abisOf()),
        excludeRule(1302),
        memoRule('found enabled=0 failure=1 backlog_limit=64 backlog_wait_time=15000'),
      ];
      for (const rule of written) await control.addRule(rule);
      const listed = (await ourRules()).map(({ data }) => data.toString('hex'));
      assert.deepEqual(listed.sort(), written.map((rule) => rule.toString('hex')).sort());
    });

    it('replaces its own rules on request and keeps foreign rules', async () => {
      const foreign = syscallRules([{ syscalls: ['accept'] }], abisOf()).map((rule) => {
        rule.write('else', rule.length - 4); // another key of the same length
        return rule;
      });
      for (const rule of foreign) await control.addRule(rule);
      try {
        const opened = await open();
        const asked = (wanted: readonly AuditRule[]) =>
          syscallRules(wanted, abisOf()).map((rule) => rule.toString('hex'));
        const present = async () => (await ourRules()).map(({ data }) => data.toString('hex'));
        for (const rule of asked(EXECS)) assert.ok((await present()).includes(rule));

        rules = [...EXECS, { syscalls: ['connect'] }];
        await opened.refreshRules();
        for (const rule of asked(rules)) assert.ok((await present()).includes(rule));
        for (const rule of asked(EXECS)) assert.ok(!(await present()).includes(rule));

        await close();
        const left = await control.rules();
        assert.equal(left.filter(({ ours }) => ours).length, 0);
        assert.equal(left.filter(({ key }) => key === 'else').length, foreign.length);
      } finally {
        for (const rule of foreign) await control.deleteRule(rule);
      }
    });

    describe('with foreign rules', () => {
      const NOBODY = 65_534;
      const NEVER_NOBODY = aboutCalls(foreignRule(EXIT, NEVER, [UID, EQUAL, NOBODY]));
      const runAsNobody = (argument: string) => spawnSync('/bin/true', [argument], { uid: NOBODY });

      const withRule = async (rule: Buffer, work: () => Promise<void>) => {
        await control.addRule(rule);
        try {
          await work();
        } finally {
          await control.deleteRule(rule);
        }
      };

      for (const [name, rule] of [
        ['-a never,exit', aboutCalls(foreignRule(EXIT, NEVER))],
        ['-a never,task', TASK_NEVER],
      ] as const)
        it(`rejects opening when a foreign rule hides everything: ${name}`, () =>
          withRule(rule, () => assert.rejects(open(), { id: 'AUDIT_UNAVAILABLE', message: new RegExp(name) })));

      it('reports degraded when an earlier foreign rule hides a user’s processes', () =>
        withRule(NEVER_NOBODY, async () => {
          const { state, reason } = (await open()).status();
          assert.equal(state, 'degraded');
          assert.match(reason ?? '', /hide some processes or files/);
          runAsNobody('hidden');
          spawnSync('/bin/true', ['seen']);
          await close();
          assert.equal(recorder.withArgument('seen').length, 1);
          assert.deepEqual(recorder.withArgument('hidden'), []);
        }));

      it('never reports a process that started under -a never,task, but reports its children', async () => {
        let shell: ChildProcess | undefined;
        try {
          await withRule(TASK_NEVER, async () => {
            shell = spawn('/bin/sh', { stdio: ['pipe', 'pipe', 'ignore'] });
            shell.stdin?.write('echo ready\n');
            await once(shell.stdout ?? assert.fail(), 'data');
          });
          await open();
          const ended = once(shell ?? assert.fail(), 'exit');
          shell?.stdin?.end('/bin/true child; exec /bin/true itself\n');
          await ended;
          await close();
          assert.equal(recorder.withArgument('child').length, 1);
          assert.deepEqual(recorder.withArgument('itself'), []);
        } finally {
          shell?.kill();
        }
      });

      it('reports a user’s processes despite a foreign rule after its own rules', async () => {
        const opened = await open();
        await withRule(NEVER_NOBODY, async () => {
          await opened.refreshRules();
          assert.equal(opened.status().state, 'on');
          runAsNobody('not hidden');
          await close();
        });
        assert.equal(recorder.withArgument('not hidden').length, 1);
      });
    });

    it('restores rules and settings that another process removed', async () => {
      await open();
      for (const { data } of await ourRules()) await control.deleteRule(data);
      await control.set({ enabled: 0, backlogWaitTime: 15_000 });
      await until('rules and settings as they were', async () => {
        const { enabled, backlogWaitTime } = await settings();
        return enabled === 1 && backlogWaitTime === 0 && (await ourRules()).length > 0;
      });
    });
  });

  describe('restoring audit', () => {
    it('restores settings and rules on close', async () => {
      await open();
      const { backlogLimit, ...settingsWhileOpen } = await settings();
      assert.deepEqual(settingsWhileOpen, { enabled: 1, failure: 1, backlogWaitTime: 0, pid: process.pid });
      assert.ok(backlogLimit >= 8_192 && backlogLimit <= 32_768, String(backlogLimit));
      await close();
      assert.deepEqual(await settings(), { ...ORIGINAL, pid: 0 });
      assert.deepEqual(await ourRules(), []);
    });

    it('keeps a setting that another process changed while it was open', async () => {
      await open();
      await control.set({ backlogLimit: 4_000 });
      await close();
      assert.deepEqual(await settings(), { ...ORIGINAL, backlogLimit: 4_000, pid: 0 });
    });

    it('restores settings and rules when opening fails half-way', async () => {
      source = new AuditSource({
        rules: () => {
          throw new Error('no rules today');
        },
        sink: recorder,
        clock: systemClock,
        log,
      });
      await assert.rejects(source.open(), /no rules today/);
      assert.deepEqual(await settings(), { ...ORIGINAL, pid: 0 });
      assert.deepEqual(await ourRules(), []);
    });

    for (const [cause, end] of Object.entries({
      'an uncaught exception': async () => {
        await hold('throw');
        await once(child as ChildProcess, 'exit');
      },
      'kill -9': async () => {
        await hold();
        child?.kill('SIGKILL');
        await once(child as ChildProcess, 'exit');
      },
    })) {
      it(`restores audit by the next agent, after ${cause}`, async () => {
        await end();
        assert.notEqual((await ourRules()).length, 0);
        rules = [{ syscalls: ['connect'] }];
        await open();
        const expected = syscallRules(EXECS, abisOf()).map((rule) => rule.toString('hex'));
        const present = (await ourRules()).map(({ data }) => data.toString('hex'));
        assert.deepEqual(
          present.filter((rule) => expected.includes(rule)),
          [],
        );
        await close();
        assert.deepEqual(await settings(), { ...ORIGINAL, pid: 0 });
        assert.deepEqual(await ourRules(), []);
      });
    }
  });

  it('is opened by the SourceLadder while a consumer requests it, and restored afterwards', async () => {
    const feeds = new Set<'audit' | 'starts'>(['audit', 'starts']);
    const wanted = () => ({ rules: EXECS, feeds });
    const commandLines = { read: async () => [] };
    const sink = { accept() {}, drop() {} };
    const parts = { audit: recorder, auditLog: recorder, sink, clock: systemClock, log, hostRoot: '/', commandLines };
    const supervisor = { run: (change: () => Promise<void>) => change(), announce() {} };
    const ladder = new SourceLadder({ wanted, supervisor, ...parts });
    await ladder.refresh();
    try {
      assert.deepEqual(ladder.status('starts'), { state: 'on', source: 'auditUnicast' });
      feeds.clear();
      await ladder.refresh();
      assert.deepEqual(ladder.status('starts'), { state: 'off' });
      assert.deepEqual(await settings(), { ...ORIGINAL, pid: 0 });
      feeds.add('audit');
      await ladder.refresh();
      assert.deepEqual(ladder.status('audit'), { state: 'on', source: 'auditUnicast' });
    } finally {
      await ladder.close();
    }
    assert.deepEqual(await settings(), { ...ORIGINAL, pid: 0 });
  });

  it('registers again when another process removes its registration as the audit daemon', async () => {
    const opened = await open();
    await control.set({ pid: 0 });
    await until('the slot', async () => (await settings()).pid === process.pid);
    assert.equal(opened.status().source, 'auditUnicast');
  });
});
