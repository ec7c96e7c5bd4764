import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { parseUtmp, utmpLayout } from '../../../../src/agent/linux/logins/utmp.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { utmpRecord } from './files.ts';

const TIME = Date.UTC(2024, 4, 1, 12) + 345;

describe('parseUtmp', () => {
  it('parses a record that sshd of Debian 13 wrote on x86_64', () => {
    const file = readFileSync('test/golden/debian13-6.18/login-wtmp');
    const layout = utmpLayout('x64', 'LE');
    assert.equal(file.length % layout.bytes, 0);
    const { timeMs, pid, ...record } = parseUtmp(file.subarray(0, layout.bytes), layout) ?? assert.fail();
    assert.deepEqual(record, { type: 7, line: 'pts/1', user: 'alice', host: '127.0.0.1', address: '127.0.0.1' });
    assert.match(new Date(timeMs).toISOString(), /^20\d\d-/);
    assert.ok(pid > 1);
  });

  for (const [arch, order, bytes] of [
    ['x64', 'LE', 384],
    ['ia32', 'LE', 384],
    ['arm', 'LE', 384],
    ['arm64', 'LE', 400],
    ['riscv64', 'LE', 400],
    ['s390x', 'BE', 384],
  ] as const) {
    it(`reads records of ${bytes} bytes on ${arch}, ${order}`, () => {
      const layout = utmpLayout(arch, order);
      assert.equal(layout.bytes, bytes);
      const address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
      assert.deepEqual(parseUtmp(utmpRecord({ time: TIME, host: 'h', address }, layout), layout), {
        type: 7,
        timeMs: TIME,
        pid: 4711,
        line: 'pts/0',
        user: 'alice',
        host: 'h',
        address: '2001:db8::1',
      });
    });
  }

  for (const [arch, order, bytes] of [
    ['x64', 'LE', 400],
    ['arm', 'LE', 400],
    ['ia32', 'LE', 396],
  ] as const) {
    it(`reads records of ${bytes} bytes on ${arch}, written by programs with musl`, () => {
      const layout = utmpLayout(arch, order, { isMusl: true });
      assert.equal(layout.bytes, bytes);
      // By the offsets of musl's include/utmpx.h: ut_type, ut_user, ut_tv and ut_addr_v6.
      const record = Buffer.alloc(bytes);
      record.writeInt16LE(7, 0);
      record.write('alice', 44);
      record.writeBigInt64LE(BigInt(Math.floor(TIME / 1_000)), 344);
      record.writeBigInt64LE(345_000n, 352);
      record.set([192, 0, 2, 7], 360);
      const { timeMs, user, address } = parseUtmp(record, layout) ?? assert.fail();
      assert.deepEqual({ timeMs, user, address }, { timeMs: TIME, user: 'alice', address: '192.0.2.7' });
    });
  }

  it('reads strings that fill their fields, in any script', () => {
    const layout = utmpLayout();
    const fields = { line: 'l'.repeat(40), user: 'å'.repeat(16), host: 'h'.repeat(300) };
    const { line, user, host } = parseUtmp(utmpRecord(fields, layout), layout) ?? assert.fail();
    assert.deepEqual([line, user, host], ['l'.repeat(32), 'å'.repeat(16), 'h'.repeat(256)]);
  });

  it('reads times after 2038', () => {
    const layout = utmpLayout('x64', 'LE');
    const time = Date.UTC(2040, 0, 1);
    assert.equal(parseUtmp(utmpRecord({ time }, layout), layout)?.timeMs, time);
  });

  for (const type of [-1, 10, 32_767]) {
    it(`ignores records of type ${type}`, () => assert.equal(parseUtmp(utmpRecord({ type }), utmpLayout()), undefined));
  }

  it('accepts any bytes without throwing', () => {
    const layouts = [utmpLayout('x64', 'LE'), utmpLayout('arm64', 'LE'), utmpLayout('s390x', 'BE')];
    const input = fc.constantFrom(...layouts).chain((layout) =>
      fc.tuple(
        fc.constant(layout),
        fc.oneof(
          fc.uint8Array({ minLength: layout.bytes, maxLength: layout.bytes }),
          // Nearly a record: some bytes of it are others.
          fc
            .array(fc.tuple(fc.nat(layout.bytes - 1), fc.nat(255)), { maxLength: 12 })
            .map((changes) =>
              changes.reduce((bytes, [at, to]) => bytes.fill(to, at, at + 1), utmpRecord({ time: TIME }, layout)),
            ),
        ),
      ),
    );
    fc.assert(
      fc.property(input, ([layout, bytes]) => {
        const record = parseUtmp(Buffer.from(bytes), layout);
        if (record === undefined) return;
        assert.ok(!Number.isNaN(new Date(record.timeMs).getTime()));
        assert.ok(record.pid >= 0 && record.line.length <= 32 && record.user.length <= 32 && record.host.length <= 256);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
