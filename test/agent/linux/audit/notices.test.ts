import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import sinon from 'sinon';
import { NoticeBoard } from '../../../../src/agent/linux/audit/notice-board.ts';
import { isNotice, parseNotice } from '../../../../src/agent/linux/audit/notices.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { LogLine } from '../../../../src/core/base/log.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';

const golden = readFileSync('test/golden/debian13-6.18/audit-notices.txt', 'latin1')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => ({ type: Number(line.slice(0, 4)), text: line.slice(line.indexOf('): ') + 3) }));
const SYSCALL = 1300;
const CALL = golden.find(({ type }) => type === SYSCALL)?.text ?? '';

describe('parseNotice', () => {
  it('parses a record that the kernel sends without a request', () => {
    const read = golden.filter(({ type }) => isNotice(type)).map(({ type, text }) => parseNotice(type, text));
    assert.deepEqual(
      read.map((notice) => (notice === undefined ? undefined : `${notice.kind}: ${notice.what}`)),
      [
        'settings: audit_failure=2, was 1',
        'settings: audit_backlog_limit=9000, was 64',
        'rules: op=add_rule key=vakt list=4',
        'rules: op=remove_rule key=vakt list=4',
        'rules: op=add_rule list=5',
        'settings: audit_enabled=0, was 1',
        'firewall: op=nft_register_table table=foo:2 family=1',
        'promiscuous: lo reads all packets',
        'crash: ended by signal 11',
        'listener: it reads audit records, too',
        undefined,
      ],
    );
    assert.deepEqual(read[9]?.by, { pid: 32456, executable: '/usr/bin/node', userId: '0' });
    assert.equal(read[8]?.by?.executable, '/usr/bin/dash');
  });

  it('has its own record types', () => {
    const types = Array.from({ length: 3_000 }, (_, type) => type).filter(isNotice);
    assert.deepEqual(types, [1305, 1325, 1334, 1335, 1700, 1701]);
  });

  for (const [what, type, text, expected] of [
    ['a set that sets nothing', 1305, 'op=set audit_enabled=1 old=1 auid=1 ses=1 res=1', undefined],
    ['the slot', 1305, 'op=set audit_pid=7 old=6 auid=1 ses=1 res=1', 'slot: audit_pid=7, was 6'],
    ['the slot, when it was refused', 1305, 'op=set audit_pid=7 old=6 auid=1 ses=1 res=0', undefined],
    ['a refused rule', 1305, 'op=add_rule audit_enabled=2 res=0', undefined],
    [
      'a rule that went with its file, where a blank is missing',
      1305,
      'auid=1 ses=4294967295op=remove_rule path="/etc/x" key="k" list=4 res=1',
      'rules: op=remove_rule key=k list=4 path=/etc/x',
    ],
    ['a listener that is refused', 1335, 'pid=9 uid=1000 exe="/tmp/x" nl-mcgrp=1 op=connect res=0', undefined],
    ['a BPF program', 1334, 'prog-id=97 op=LOAD', 'bpf: loaded program 97'],
    ['one that is unloaded', 1334, 'prog-id=97 op=UNLOAD', undefined],
    [
      'an interface whose mode has not changed',
      1700,
      'dev=lo prom=256 old_prom=256 auid=1 uid=0 gid=0 ses=3',
      undefined,
    ],
    [
      'an interface that no longer reads all packets',
      1700,
      'dev=lo prom=0 old_prom=256 auid=1 uid=0 gid=0 ses=3',
      'promiscuous: lo no longer reads all packets',
    ],
    ['what a program wrote', 1305, "op=set audit_x='", undefined],
  ] as const) {
    it(`finds that a record is ${expected === undefined ? 'not ' : ''}${what}`, () => {
      const notice = parseNotice(type, text);
      assert.equal(notice === undefined ? undefined : `${notice.kind}: ${notice.what}`, expected);
    });
  }

  it('accepts any text', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.tuple(fc.nat(golden.length - 1), fc.nat(300), fc.string({ maxLength: 9 })).map(([index, at, junk]) => {
        const { text } = golden[index] ?? { text: '' };
        return text.slice(0, at) + junk + text.slice(at + 3);
      }),
    );
    fc.assert(
      fc.property(texts, fc.constantFrom(1305, 1325, 1334, 1335, 1700, 1701, 7), (text, type) => {
        const notice = parseNotice(type, text);
        assert.ok(notice === undefined || notice.what.length < 2_000);
      }),
      { numRuns: fuzzRuns(50_000) },
    );
  });

  describe('NoticeBoard', () => {
    let time: sinon.SinonFakeTimers;
    let logged: LogLine[];
    let board: NoticeBoard;
    let changedAt: number | undefined;
    let proven: Set<number>;
    let serial: number;

    beforeEach(() => {
      time = sinon.useFakeTimers({ now: Date.now(), toFake: ['Date', 'performance'] });
      time.tick(100_000);
      logged = [];
      changedAt = undefined;
      proven = new Set();
      serial = 0;
      board = new NoticeBoard({
        clock: systemClock,
        log: quietLog(logged),
        hasChanged: (from, until) => changedAt !== undefined && changedAt >= from && changedAt <= until,
        programs: { isDaemon: ({ pid }) => proven.has(pid), isLogger: ({ pid }) => proven.has(pid) },
      });
    });
    afterEach(() => time.restore());

    /** @param late for how long it was unread */
    const deliver = (text: string, { type = 1305, call = CALL, late = 0 } = {}) => {
      serial += 1;
      const header = { serial, time: Date.now() - late, bodyAt: 0 };
      board.take(type, header, text);
      if (call !== '') board.takeCall(header, call);
      board.settle();
    };
    const OFF = 'op=set audit_enabled=0 old=1 auid=1000 ses=3 res=1';
    const messages = () => logged.map(({ level, id, message }) => [level, id, message]);

    it('logs a change of audit immediately as a warning that names its author', () => {
      deliver(OFF);
      assert.deepEqual(messages(), [
        [
          'warn',
          'AUDIT_TAMPERED',
          "Another process interferes with the kernel's audit. (/usr/sbin/auditctl (process 32250, user 0) changed " +
            "audit's settings: audit_enabled=0, was 1)",
        ],
      ]);
    });

    it('logs other records as information', () => {
      deliver('prog-id=97 op=LOAD', { type: 1334 });
      assert.equal(logged[0]?.level, 'info');
      assert.match(logged[0]?.message ?? '', /loaded a BPF program: loaded program 97/);
    });

    it("does not log the agent's own changes", () => {
      deliver(OFF, { call: CALL.replace('pid=32250', `pid=${process.pid}`) });
      changedAt = systemClock.monotonic();
      deliver(OFF, { call: '' });
      time.tick(600);
      board.settle();
      assert.equal(logged.length, 0);
    });

    it("does not log the agent's own changes if they are read late", () => {
      changedAt = systemClock.monotonic();
      time.tick(20_000);
      deliver(OFF, { call: '', late: 20_000 });
      time.tick(600);
      board.settle();
      assert.equal(logged.length, 0);
    });

    it('does not log late records made long before or after a change by the agent', () => {
      for (const late of [40_000, 7_000]) {
        changedAt = systemClock.monotonic();
        time.tick(20_000);
        deliver(OFF, { call: '', late });
        time.tick(60_600);
        board.settle();
        assert.equal(logged.splice(0).length, 1, `${late}`);
      }
    });

    it('logs no name if audit has none, unless the agent has just changed something', () => {
      deliver(OFF, { call: '' });
      assert.equal(logged.length, 0);
      time.tick(600);
      board.settle();
      assert.match(logged[0]?.message ?? '', /A process that audit does not name changed/);
    });

    it("logs no name if the agent's change was earlier or the agent never makes such a change", () => {
      changedAt = systemClock.monotonic();
      deliver('op=nft_register_table table=foo:2 family=1', { type: 1325, call: '' });
      time.tick(600);
      board.settle();
      time.tick(5_000);
      deliver(OFF, { call: '' });
      time.tick(600);
      board.settle();
      assert.deepEqual(
        logged.map(({ level }) => level),
        ['info', 'warn'],
      );
    });

    it('logs a change by another process even just after a change by the agent', () => {
      changedAt = systemClock.monotonic();
      deliver(OFF);
      assert.equal(logged.length, 1);
    });

    const JOURNAL = 'pid=9 uid=0 auid=1 tty=(none) ses=3 exe="/usr/lib/systemd/systemd-journald" op=connect res=1';
    const slot = (pid: number, old: number) => `op=set audit_pid=${pid} old=${old} auid=1 ses=1 res=1`;

    it('does not log auditd taking or releasing the slot, or the journal listening', () => {
      proven = new Set([7, 9]);
      deliver(slot(0, 7));
      deliver(slot(7, 0));
      deliver(slot(7, 0), { call: '' });
      deliver(JOURNAL, { type: 1335, call: '' });
      time.tick(600);
      board.settle();
      assert.equal(logged.length, 0);
    });

    it('logs a warning when any other program takes the slot or listens, regardless of its path', () => {
      deliver(slot(7, 0), { call: CALL.replace('/usr/sbin/auditctl', '/usr/sbin/auditd') });
      deliver(JOURNAL, { type: 1335, call: '' });
      time.tick(600);
      board.settle();
      assert.deepEqual(
        messages().map(([level, id]) => [level, id]),
        [
          ['warn', 'AUDIT_TAMPERED'],
          ['warn', 'AUDIT_TAMPERED'],
        ],
      );
      assert.match(logged[0]?.message ?? '', /auditd .* changed the audit daemon: audit_pid=7, was 0/);
    });

    it('logs each kind once per minute, with a count', () => {
      for (let count = 0; count < 10_000; count += 1) deliver(OFF);
      deliver('op=add_rule key=(null) list=5 res=1');
      assert.equal(logged.length, 2);
      time.tick(60_000);
      board.settle();
      assert.equal(logged.length, 3);
      assert.match(logged[2]?.message ?? '', /; 9999 more in a minute/);
      time.tick(60_000);
      board.settle();
      assert.equal(logged.length, 3);
    });

    it('stays within bounded memory if the remaining records never arrive', () => {
      for (let count = 0; count < 10_000; count += 1) {
        board.take(1305, { serial: count, time: 0, bodyAt: 0 }, OFF);
        board.take(1305, { serial: 1, time: 0, bodyAt: 0 }, OFF);
      }
      assert.ok(Array.from({ length: 10_000 }, (_, of) => of).filter((of) => board.isWaitingFor(of)).length <= 64);
      board.settle(true);
      assert.ok(logged.length <= 2);
    });

    it('escapes characters that could move a cursor', () => {
      deliver(OFF, { call: CALL.replace('"/usr/sbin/auditctl"', '2F1B5B324A') });
      assert.ok(!logged[0]?.message.includes('\u001b'));
    });
  });
});
