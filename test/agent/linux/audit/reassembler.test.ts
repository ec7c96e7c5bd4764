import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { readHeader } from '../../../../src/agent/linux/audit/header.ts';
import {
  CWD,
  EOE,
  EXECVE,
  INTEGRITY_RULE,
  PROCTITLE,
  Reassembler,
  SOCKADDR,
  SOCKETCALL,
  SYSCALL,
  URINGOP,
} from '../../../../src/agent/linux/audit/reassembler.ts';
import { type Duration, milliseconds, seconds } from '../../../../src/core/base/duration.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { golden } from './golden.ts';

const EXEC = 'arch=c000003e syscall=59 success=yes exit=0 ppid=1 pid=2 uid=0 euid=0 comm="x" exe="/bin/x" key="vakt"';

describe('Reassembler', () => {
  let events: AuditEvent[];
  let reassembler: Reassembler;
  let now: Duration;

  beforeEach(() => {
    events = [];
    reassembler = new Reassembler((event) => events.push(event));
    now = milliseconds(0);
  });

  const feed = (type: number, serial: number, text = '') =>
    reassembler.accept(type, { serial, time: 1_000, bodyAt: 0 }, text, now);
  const records = (serial: number): [number, number, string][] => [
    [SYSCALL, serial, EXEC],
    [EXECVE, serial, `argc=2 a0="x" a1="${serial}"`],
    [CWD, serial, 'cwd="/tmp"'],
    [EOE, serial, ''],
  ];
  const feedAll = (all: readonly [number, number, string][]) => {
    for (const record of all) feed(...record);
  };
  const wait = (span: Duration) => {
    now = milliseconds(now + span);
    reassembler.expire(now);
  };
  const serials = () => events.map(({ serial }) => serial);

  it('emits a start once its arguments and its directory have arrived', () => {
    feedAll(records(7).slice(0, 2));
    assert.equal(events.length, 0);
    feedAll(records(7).slice(2, 3));
    const [event] = events;
    assert.deepEqual(
      { ...event, fields: undefined },
      {
        time: new Date(1_000),
        serial: 7,
        syscall: 'execve',
        abi: 'b64',
        success: true,
        fields: undefined,
        argv: ['x', '7'],
        commandLine: 'x 7',
        cwd: '/tmp',
      },
    );
    assert.equal(event?.fields.exe, '/bin/x');
  });

  it('emits the events that a kernel wrote', () => {
    for (const { type, text } of golden) {
      const header = readHeader(Buffer.from(text, 'latin1'));
      if (header !== undefined && reassembler.wants(type)) {
        reassembler.accept(type, header, text.slice(header.bodyAt), now);
      }
    }
    assert.equal(events.length, 11);
    assert.deepEqual(
      events.map(({ syscall, success, argv }) => `${syscall} ${success} ${argv?.length}`),
      [
        '1 true undefined', // the agent's own write(), which added a rule
        'execve true 9',
        'execve true 3',
        'execve true 3',
        'execve true 2',
        'execve true 4',
        'execve true 3',
        'execve true 1001',
        'execve false undefined',
        'execve false undefined',
        'execve true 3',
      ],
    );
    assert.equal(events[4]?.cwd, '/tmp/a dir');
    assert.deepEqual(reassembler.counts, { missing: 0, unusable: 0, late: 0 });
  });

  it('separates interleaved events', () => {
    const [a, b] = [records(1), records(2)];
    feedAll(a.flatMap((record, index) => [record, b[index] as [number, number, string]]));
    assert.deepEqual(
      events.map(({ argv }) => argv?.[1]),
      ['1', '2'],
    );
  });

  it('waits for records that follow the end record', () => {
    const all = records(1);
    feedAll(all.filter(([type]) => type !== EXECVE));
    assert.equal(events.length, 0);
    feedAll(all.filter(([type]) => type === EXECVE));
    assert.deepEqual(events[0]?.argv, ['x', '1']);
  });

  it('emits an event without arguments after the wait for them', () => {
    feedAll(records(1).filter(([type]) => type !== EXECVE));
    wait(milliseconds(1_999));
    assert.equal(events.length, 0);
    wait(milliseconds(1));
    assert.equal(events[0]?.argv, undefined);
    assert.equal(events[0]?.cwd, '/tmp');
    assert.equal(reassembler.counts.missing, 1);
  });

  it('waits for the directory of a start as well', () => {
    feedAll(records(1).filter(([type]) => type !== CWD && type !== EOE));
    wait(milliseconds(1_999));
    assert.equal(events.length, 0);
    wait(milliseconds(1));
    assert.equal(events[0]?.cwd, undefined);
    assert.equal(reassembler.counts.missing, 1);
  });

  it('does not count excluded records as missing', () => {
    reassembler.excluded = new Set([CWD]);
    const all = records(1).filter(([type]) => type !== CWD);
    feedAll(all);
    assert.deepEqual(events[0]?.argv, ['x', '1']);
    feedAll(all.slice(0, 2).map(([type, , text]) => [type, 2, text])); // the end is excluded as well
    wait(milliseconds(200));
    assert.deepEqual(serials(), [1, 2]);
    reassembler.excluded = new Set([CWD, EXECVE]);
    feed(SYSCALL, 3, EXEC);
    feed(EOE, 3);
    assert.deepEqual(serials(), [1, 2, 3]);
    assert.equal(reassembler.counts.missing, 0);
  });

  it('waits for directories that arrive although some are excluded', () => {
    reassembler.excluded = new Set([CWD]);
    feedAll(records(1).slice(0, 2));
    assert.equal(events.length, 0);
    feedAll(records(1).slice(2));
    assert.equal(events[0]?.cwd, '/tmp');
  });

  it('emits an unknown call at its end record, or after the wait for it', () => {
    const open = EXEC.replace('syscall=59', 'syscall=257');
    feed(SYSCALL, 1, open);
    feed(SYSCALL, 2, open);
    assert.equal(events.length, 0);
    feed(EOE, 2);
    assert.deepEqual(serials(), [2]);
    wait(milliseconds(199));
    assert.equal(events.length, 1);
    wait(milliseconds(1));
    assert.deepEqual(serials(), [2, 1]);
    assert.equal(reassembler.counts.missing, 0);
  });

  const CALL = 'arch=c000003e syscall=43 success=yes exit=5 a0=3 a1=7ffc1000 a2=7ffc0ff0 a3=0 pid=2 exe="/bin/x"';
  const OLD_CALL = 'arch=40000003 syscall=102 success=yes exit=5 a0=5 pid=2 exe="/bin/x"';
  const ADDRESS = 'saddr=020001BBC00002070000000000000000';
  for (const [what, ...all] of [
    ['socket', [SYSCALL, CALL.replace('syscall=43', 'syscall=41')]],
    ['connect', [SYSCALL, CALL.replace('syscall=43', 'syscall=42')], [SOCKADDR, ADDRESS]],
    ['accept', [SYSCALL, CALL], [SOCKADDR, ADDRESS]],
    ['accept without address', [SYSCALL, CALL.replace('a1=7ffc1000', 'a1=0')]],
    ['accept4', [SYSCALL, CALL.replace('syscall=43', 'syscall=288')], [SOCKADDR, ADDRESS]],
    ['socketcall: accept', [SYSCALL, OLD_CALL], [SOCKETCALL, 'nargs=3 a0=5 a1=ff a2=10'], [SOCKADDR, ADDRESS]],
    ['socketcall: accept without address', [SYSCALL, OLD_CALL], [SOCKETCALL, 'nargs=3 a0=5 a1=0 a2=0']],
    [
      'socketcall: accept4 without address',
      [SYSCALL, OLD_CALL.replace('a0=5', 'a0=12')],
      [SOCKETCALL, 'nargs=4 a0=5 a1=0 a2=0 a3=80000'],
    ],
    ['socketcall: socket', [SYSCALL, OLD_CALL.replace('a0=5', 'a0=1')], [SOCKETCALL, 'nargs=3 a0=2 a1=1 a2=0']],
  ] as const satisfies readonly [string, ...(readonly [number, string])[]][]) {
    it(`emits ${what} with the last of its records, in any order, without an end record`, () => {
      for (const [serial, order] of [all, all.toReversed()].entries()) {
        for (const [index, [type, text]] of order.entries()) {
          assert.equal(events.length, serial, `before record ${index}`);
          feed(type, serial, text);
        }
        assert.equal(events.length, serial + 1);
        feed(EOE, serial);
      }
      assert.deepEqual(reassembler.counts, { missing: 0, unusable: 0, late: 0 });
    });
  }

  it('counts an event that lost its SYSCALL record', () => {
    feedAll(records(1).slice(1));
    wait(seconds(2));
    assert.equal(events.length, 0);
    assert.equal(reassembler.counts.unusable, 1);
  });

  it('does not emit an event again for a late record', () => {
    feedAll(records(1));
    feedAll(records(1));
    wait(seconds(9));
    assert.deepEqual(serials(), [1]);
    assert.equal(reassembler.counts.late, 3);
  });

  it('does not wait for arguments of a failed start or of another call', () => {
    feed(SYSCALL, 1, EXEC.replace('success=yes', 'success=no'));
    feed(EOE, 1);
    feed(SYSCALL, 2, EXEC.replace('syscall=59', 'syscall=42'));
    feed(EOE, 2);
    assert.deepEqual(
      events.map(({ syscall }) => syscall),
      ['execve', 'connect'],
    );
  });

  it('adds the address of a connection', () => {
    feed(SYSCALL, 1, EXEC.replace('syscall=59', 'syscall=42'));
    feed(SOCKADDR, 1, 'saddr=020001BBC00002070000000000000000');
    feed(EOE, 1);
    assert.deepEqual(events[0]?.address, { address: '192.0.2.7', port: 443 });
  });

  it('adds the arguments of a call through socketcall', () => {
    feed(SYSCALL, 1, 'arch=40000003 syscall=102 success=yes exit=0 a0=3 pid=2 exe="/bin/x"');
    feed(SOCKETCALL, 1, 'nargs=3 a0=5 a1=ffbc7a40 a2=10');
    feed(EOE, 1);
    assert.deepEqual(events[0]?.socketcall, [5, 0xffbc7a40, 16]);
  });

  it('adds IMA measurements', () => {
    feed(INTEGRITY_RULE, 1, 'file="/bin/x" hash="sha256:00ff" ppid=1 pid=2'); // written as the program is read
    feedAll(records(1));
    assert.equal(events[0]?.imaHash, 'sha256:00ff');
  });

  it("emits a program's own record immediately and once", () => {
    const text = `pid=7 uid=0 auid=0 ses=3 msg='op=login acct="alice" exe="/usr/sbin/sshd" addr=192.0.2.7 res=success'`;
    feed(1112, 5, text);
    feed(1112, 5, text);
    const [event, ...more] = events;
    assert.equal(event?.record, 'USER_LOGIN');
    assert.equal(event?.success, true);
    assert.equal(event?.fields.acct, 'alice');
    assert.equal(more.length, 0);
  });

  it('uses the PROCTITLE record as the end if there is no end record', () => {
    reassembler = new Reassembler((event) => events.push(event), { endRecords: false });
    feed(SYSCALL, 1, EXEC.replace('success=yes', 'success=no'));
    assert.equal(events.length, 0);
    feed(PROCTITLE, 1, 'proctitle="x"');
    assert.equal(events[0]?.success, false);
  });

  it('ignores an end record of an unknown event', () => {
    feed(EOE, 9);
    wait(seconds(9));
    assert.deepEqual(reassembler.counts, { missing: 0, unusable: 0, late: 0 });
  });

  it('continues when the serials start again', () => {
    feedAll(records(4_294_967_295));
    feedAll(records(0));
    feedAll(records(1));
    assert.deepEqual(serials(), [4_294_967_295, 0, 1]);
  });

  it('holds at most 1,024 events', () => {
    for (let serial = 0; serial < 1_025; serial += 1) feed(SYSCALL, serial, EXEC);
    assert.deepEqual(serials(), [0]);
  });

  it('holds at most 4 MiB of arguments', () => {
    for (let serial = 0; serial < 40; serial += 1) {
      feed(SYSCALL, serial, EXEC);
      feed(EXECVE, serial, `argc=1 a0="${'x'.repeat(200_000)}"`);
    }
    assert.ok(events.length >= 8, String(events.length));
    reassembler.flush();
    assert.equal(events.length, 40);
    assert.equal(events[0]?.argvBytesCut, 200_000 - 128 * 1024);
  });

  it('emits each event once and complete, for any order of records', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.infiniteStream(fc.nat()), (count, random) => {
        events = [];
        reassembler = new Reassembler((event) => events.push(event));
        const all = Array.from({ length: count }, (_, index) => records(0xffff_fff8 + index)).flat();
        const order = all.map((record) => ({ record, rank: random.next().value ?? 0 }));
        // The end of an event that is all there is of it so far says nothing, so it comes last here.
        order.sort((a, b) => Number(a.record[0] === EOE) - Number(b.record[0] === EOE) || a.rank - b.rank);
        feedAll(order.map(({ record: [type, serial, text] }) => [type, serial >>> 0, text]));
        assert.equal(events.length, count);
        assert.ok(events.every(({ argv, cwd }) => argv?.length === 2 && cwd === '/tmp'));
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });

  it('reports known commands as their records list them, in any order', () => {
    const word = fc.oneof(
      fc.constantFrom('x', 'y'),
      fc.nat(99).map(String), // more than are kept
      fc.nat(3).map((digit) => String(digit).repeat(600)), // too long to be kept
    );
    const command = fc.record({
      argv: fc.array(word, { minLength: 1, maxLength: 3 }),
      /** How many the first record has. */
      split: fc.nat(3),
      isRestLost: fc.boolean(),
      copies: fc.integer({ min: 1, max: 2 }),
      /** How many EXECVE records come before the otherRecords. */
      before: fc.nat(4),
      isCwdFirst: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200, size: 'max' }), (commands) => {
        events = [];
        reassembler = new Reassembler((event) => events.push(event));
        const expected = commands.map(({ argv, split, isRestLost, copies, before, isCwdFirst }, serial) => {
          const fields = argv.map((text, number) => ` a${number}="${text}"`);
          const first = `argc=${argv.length}${fields.slice(0, split).join('')}`;
          const isWhole = split >= argv.length;
          const texts = isWhole || isRestLost ? [first] : [first, fields.slice(split).join('')];
          const all = texts.flatMap((text) => new Array<[number, string]>(copies).fill([EXECVE, text]));
          const otherRecords: [number, string][] = [
            [SYSCALL, EXEC],
            [CWD, 'cwd="/"'],
          ];
          all.splice(before, 0, ...(isCwdFirst ? otherRecords.reverse() : otherRecords));
          for (const [type, text] of all) feed(type, serial, text);
          reassembler.flush();
          return isWhole || !isRestLost ? argv.join(' ') : undefined;
        });
        assert.deepEqual(
          events.map(({ commandLine }) => commandLine),
          expected,
        );
        assert.equal(reassembler.counts.missing, expected.filter((line) => line === undefined).length);
      }),
      { numRuns: 100 },
    );
  });

  it('treats a command as complete once all records announced by its first one have arrived', () => {
    for (const [serial, more] of [' a1="y"', 'argc=2 a0="x" a1="y"'].entries()) {
      feed(SYSCALL, serial, EXEC);
      feed(EXECVE, serial, 'argc=1 a0="x"');
      feed(EXECVE, serial, more);
      feed(CWD, serial, 'cwd="/"');
      assert.deepEqual(events[serial]?.argv, ['x']);
    }
  });

  it('keeps a known command for all programs started with it', () => {
    for (const serial of [1, 2]) {
      feed(SYSCALL, serial, EXEC);
      feed(EXECVE, serial, ['argc=2 a0="x" ', 'a1="y"'].join(''));
      feed(CWD, serial, 'cwd="/"');
    }
    assert.equal(events[0]?.argv, events[1]?.argv);
    assert.equal(events[1]?.commandLine, 'x y');
  });

  it('never throws, and releases all memory at the end', () => {
    const type = fc.constantFrom(SYSCALL, EXECVE, CWD, URINGOP, SOCKADDR, EOE);
    const text = fc.oneof(fc.constantFrom(EXEC, 'argc=1 a0="x"', 'cwd="/"', 'uring_op=16', ''), fc.string());
    fc.assert(
      fc.property(fc.array(fc.tuple(type, fc.nat(5), text), { maxLength: 30 }), (all) => {
        events = [];
        reassembler = new Reassembler((event) => events.push(event));
        feedAll(all);
        reassembler.flush();
        assert.equal(new Set(serials()).size, events.length);
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });

  describe('for io_uring operations', () => {
    const TRIED = 'uring_op=16 success=no exit=-11 items=0 ppid=1 pid=2 uid=0 gid=0 euid=5 suid=0 key="vakt"';
    const DONE = 'uring_op=16 success=yes exit=0 items=0 ppid=1 pid=2 uid=0 gid=0 euid=5 suid=0 key="vakt"';
    const OPENED = 'uring_op=18 success=yes exit=0 items=0 ppid=1 pid=2 uid=0 gid=0 euid=5 suid=0 key="files"';
    const ENTER = 'arch=c000003e syscall=426 success=yes exit=1 ppid=1 pid=2 euid=5 comm="x" exe="/bin/x" key="vakt"';
    const ADDRESS = 'saddr=020001BBC00002070000000000000000';
    const summary = () => events.map(({ ringConnects, address, fields }) => [ringConnects, address?.port, fields.exe]);

    it('emits a connect once, with its program', () => {
      feedAll([
        [URINGOP, 1, TRIED],
        [URINGOP, 1, DONE],
        [SYSCALL, 1, ENTER],
        [SOCKADDR, 1, ADDRESS],
        [EOE, 1, ''],
      ]);
      assert.deepEqual(summary(), [[1, 443, '/bin/x']]);
    });

    it('emits an operation run by a kernel thread, with or without an end record', () => {
      for (const serial of [1, 2])
        feedAll([
          [URINGOP, serial, TRIED],
          [SOCKADDR, serial, ADDRESS],
        ] as const);
      feed(EOE, 1);
      assert.equal(events.length, 1);
      wait(milliseconds(300));
      assert.deepEqual(summary(), [
        [1, 443, undefined],
        [1, 443, undefined],
      ]);
      assert.deepEqual(events[0]?.fields.pid, '2');
      assert.deepEqual(reassembler.counts, { missing: 0, unusable: 0, late: 0 });
    });

    it('emits an operation of a long system call once the call ends', () => {
      feed(URINGOP, 1, TRIED);
      wait(seconds(30));
      assert.deepEqual(events, []);
      assert.equal(reassembler.waitingSince, undefined);
      feedAll([
        [SYSCALL, 1, ENTER],
        [SOCKADDR, 1, ADDRESS],
      ]);
      assert.deepEqual(summary(), [[1, 443, '/bin/x']]);
      assert.deepEqual(reassembler.counts, { missing: 0, unusable: 0, late: 0 });
    });

    it('emits an operation requested by a command even if its record is lost', () => {
      feedAll([
        [SYSCALL, 1, ENTER.replace('vakt', 'vakt-command')],
        [SOCKADDR, 1, ADDRESS],
        [EOE, 1, ''],
      ]);
      assert.deepEqual(summary(), [[1, 443, '/bin/x']]);
    });

    it('counts several operations of one system call', () => {
      feedAll([
        [URINGOP, 1, TRIED],
        [URINGOP, 1, TRIED],
        [URINGOP, 1, DONE],
        [SYSCALL, 1, ENTER],
        [SOCKADDR, 1, ADDRESS],
      ]);
      assert.deepEqual(summary(), [[2, 443, '/bin/x']]);
    });

    it("omits operations that only other programs' rules request", () => {
      feedAll([
        [URINGOP, 1, OPENED],
        [SYSCALL, 1, ENTER.replace('vakt', 'files')],
        [EOE, 1, ''],
      ]);
      assert.deepEqual(summary(), [[undefined, undefined, '/bin/x']]);
    });
  });
});
