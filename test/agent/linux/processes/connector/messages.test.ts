import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readU32 } from '../../../../../src/agent/linux/native/byte-order.ts';
import { readWaitStatus } from '../../../../../src/agent/linux/processes/connector/exit-status.ts';
import {
  decodeEvent,
  EXEC,
  EXIT,
  encodeRequest,
  execsOnly,
  exitsOnly,
  IGNORE,
  LISTEN,
  MAX_WATCHED,
  NONE,
} from '../../../../../src/agent/linux/processes/connector/messages.ts';
import { fuzzRuns } from '../../../../fuzz.ts';
import { answerTo, datagram, execOf, exitOf, golden } from './datagrams.ts';
import { runFilter } from './run-filter.ts';

const decode = (bytes: Buffer, length = bytes.length) =>
  decodeEvent(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), length);

/** A real datagram of which some bytes are others, or are missing, or more follow. */
const mutated = fc
  .tuple(
    fc.constantFrom(...golden),
    fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 6 }),
    fc.option(fc.nat(90), { nil: undefined }),
    fc.uint8Array({ maxLength: 20 }),
  )
  .map(([original, changes, length, more]) => {
    const bytes = Buffer.concat([original, more]);
    for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
    return bytes.subarray(0, length ?? bytes.length);
  });
const anything = fc.oneof(
  fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes)),
  mutated,
);

describe('decodeEvent', () => {
  it('reads the exit of a thread', () => {
    assert.deepEqual(decode(exitOf(4711, 1792, { threadId: 4712, nanoseconds: 2 ** 40 + 7 })), {
      what: EXIT,
      pid: 4711,
      threadId: 4712,
      code: 1792,
      nanoseconds: 2 ** 40 + 7,
    });
  });

  it('reads the start of a program', () => {
    assert.deepEqual(decode(execOf(4711)), { what: EXEC, pid: 4711, nanoseconds: 5e9 });
  });

  it('reads an answer', () => {
    assert.deepEqual(decode(answerTo(2 ** 32 - 1)), { what: NONE, acknowledgement: 0, errno: 0, nanoseconds: 5e9 });
    const refusal = decode(answerTo(4711, 1));
    assert.equal(refusal?.what === NONE && refusal.errno, 1);
  });

  it('reads the events of kernels before 4.18, which lack the parent', () => {
    const bytes = exitOf(4711, 9);
    bytes.writeUInt16LE(32, 32);
    assert.equal(decode(bytes.subarray(0, 68))?.what, EXIT);
  });

  for (const [what, bytes] of Object.entries({
    'another index': datagram({ index: 2 }),
    'another value': datagram({ value: 2 }),
    'a fork': datagram({ what: 1, details: [1, 1, 2, 2] }),
    'an exit cut short': exitOf(4711).subarray(0, 63),
    'a message that is longer than its datagram': exitOf(4711).subarray(0, 75),
    'process 0': exitOf(0, 0, { threadId: 1 }),
    'a negative process': exitOf(-4711),
    nothing: Buffer.alloc(0),
  })) {
    it(`skips ${what}`, () => assert.equal(decode(bytes), undefined));
  }

  it('does not read beyond the datagram in a longer buffer', () => {
    assert.equal(decode(exitOf(4711), 63), undefined);
  });

  it('accepts any datagram', () => {
    fc.assert(
      fc.property(anything, (bytes) => {
        const event = decode(bytes);
        if (event === undefined) return;
        assert.ok(event.nanoseconds >= 0 && Number.isFinite(event.nanoseconds));
        if (event.what === NONE) {
          assert.ok(event.errno >= 0 && Number.isInteger(event.acknowledgement));
          return;
        }
        assert.ok(Number.isInteger(event.pid) && event.pid > 0);
        if (event.what !== EXIT) return;
        const { exitStatus, signal } = readWaitStatus(event.code);
        assert.ok(exitStatus >= 0 && exitStatus <= 255 && (signal === undefined || /^SIG[A-Z0-9+]+$/.test(signal)));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('reads the events of a real kernel', () => {
    const events = golden.map((bytes) => decode(bytes));
    const exits = events.flatMap((event) => (event?.what === EXIT && event.pid === event.threadId ? [event] : []));
    assert.deepEqual(
      exits.map(({ code }) => readWaitStatus(code)),
      [
        { exitStatus: 0 },
        { exitStatus: 7 },
        { exitStatus: 137, signal: 'SIGKILL' },
        { exitStatus: 139, signal: 'SIGSEGV' },
        { exitStatus: 168, signal: 'SIGRTMIN+6' },
        { exitStatus: 3 },
        { exitStatus: 4 },
        { exitStatus: 0 },
        { exitStatus: 0 },
      ],
    );
    assert.equal(events.filter((event) => event?.what === EXEC).length, 10);
    assert.deepEqual(
      events.flatMap((event) => (event?.what === NONE ? [event.acknowledgement] : [])),
      [4712],
    );
    const threads = events.filter((event) => event?.what === EXIT && event.pid !== event.threadId);
    assert.ok(threads.length >= 5);
  });
});

it('encodes requests for events and for their end', () => {
  assert.equal(readU32(encodeRequest(LISTEN, 4711), 12), 4711);
  const le = '01000000' + '01000000' + '00000000' + '67120000' + '0400' + '0000';
  assert.equal(encodeRequest(LISTEN, 4711).toString('hex'), `${le}01000000`);
  assert.equal(encodeRequest(IGNORE, 4711).toString('hex'), `${le}02000000`);
});

describe("the connector's filters", () => {
  /** What would be read of it, if it comes through. */
  const wanted = (bytes: Buffer, watched: readonly number[]) => {
    const event = decode(bytes);
    if (event === undefined) return false;
    return event.what === EXIT && (event.pid === event.threadId || watched.includes(event.pid));
  };

  it('accepts the exits of processes only', () => {
    assert.ok(runFilter(exitsOnly(), exitOf(4711)) > 0);
    assert.equal(runFilter(exitsOnly(), exitOf(4711, 0, { threadId: 4712 })), 0);
    assert.equal(runFilter(exitsOnly(), execOf(4711)), 0);
    assert.equal(runFilter(exitsOnly(), datagram({ what: 1 })), 0);
  });

  it('accepts the exit of every thread of a watched process', () => {
    const watched = Array.from({ length: MAX_WATCHED }, (_, index) => 5_000 + index);
    const filter = exitsOnly(watched);
    for (const pid of watched) assert.ok(runFilter(filter, exitOf(pid, 0, { threadId: 99_999 })) > 0);
    assert.ok(runFilter(filter, exitOf(4711)) > 0);
    assert.equal(runFilter(filter, exitOf(4711, 0, { threadId: 99_999 })), 0);
  });

  it('accepts starts of programs', () => {
    assert.ok(runFilter(execsOnly(), execOf(4711)) > 0);
    assert.equal(runFilter(execsOnly(), exitOf(4711)), 0);
  });

  it('accepts one answer, and no answers to other processes, which any user can trigger', () => {
    for (const filter of [exitsOnly([], 2), exitsOnly([1, 2], 2), execsOnly(2)]) {
      assert.ok(runFilter(filter, answerTo(1)) > 0);
      assert.equal(runFilter(filter, answerTo(2)), 0);
    }
    for (const filter of [exitsOnly(), exitsOnly([1, 2]), execsOnly()]) assert.equal(runFilter(filter, answerTo(1)), 0);
  });

  it('never drops an event that would be read', () => {
    fc.assert(
      fc.property(anything, fc.uniqueArray(fc.integer({ min: 1, max: 70_000 }), { maxLength: 3 }), (bytes, watched) => {
        if (wanted(bytes, watched)) assert.ok(runFilter(exitsOnly(watched), bytes) > 0);
        if (decode(bytes)?.what === EXEC) assert.ok(runFilter(execsOnly(), bytes) > 0);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('drops most events of a real kernel', () => {
    const kept = golden.filter((bytes) => runFilter(exitsOnly(), bytes) > 0);
    assert.equal(kept.length, 9);
    assert.equal(golden.filter((bytes) => runFilter(execsOnly(), bytes) > 0).length, 10);
  });
});
