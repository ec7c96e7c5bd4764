import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { AuditEvent, AuditFields } from '../../../../../src/agent/linux/audit/event.ts';
import { CONNECTION_RULES, socketCallOf } from '../../../../../src/agent/linux/sockets/connections/socket-calls.ts';
import { fuzzRuns } from '../../../../fuzz.ts';

const event = (syscall: string, fields: AuditFields, rest: Partial<AuditEvent> = {}): AuditEvent => ({
  time: new Date(0),
  serial: 1,
  syscall,
  success: true,
  fields,
  ...rest,
});

const TCP = { call: 'socket', fd: 4, protocol: 'TCP' } as const;

describe('socketCallOf', () => {
  for (const [what, given, expected] of [
    ['a TCP socket', event('socket', { a0: '2', a1: '1', a2: '0', exit: '4' }), TCP],
    ['its flags, which mean nothing here', event('socket', { a0: '2', a1: '80801', a2: '6', exit: '4' }), TCP],
    ['one of IPv6', event('socket', { a0: 'a', a1: '1', a2: '0', exit: '4' }), TCP],
    ['Multipath TCP', event('socket', { a0: '2', a1: '1', a2: '106', exit: '4' }), TCP],
    ['a UDP socket', event('socket', { a0: '2', a1: '2', a2: '11', exit: '4' }), { ...TCP, protocol: 'UDP' }],
    ['SMC, which begins as TCP', event('socket', { a0: '2', a1: '1', a2: '100', exit: '4' }), TCP],
    ['SCTP', event('socket', { a0: '2', a1: '1', a2: '84', exit: '4' }), { ...TCP, protocol: 'other' }],
    ['a ping', event('socket', { a0: '2', a1: '2', a2: '1', exit: '4' }), { ...TCP, protocol: 'other' }],
    ['a raw socket', event('socket', { a0: '2', a1: '3', a2: '6', exit: '4' }), { ...TCP, protocol: 'other' }],
    ['another family', event('socket', { a0: '1', a1: '1', a2: '0', exit: '4' }), { ...TCP, protocol: 'other' }],
    [
      'the lower half of a register',
      event('socket', { a0: 'dead00000002', a1: 'ffffffff00000001', a2: '0', exit: '4' }),
      TCP,
    ],
    ['connect', event('connect', { a0: '1f', exit: '0' }), { call: 'connect', fd: 31, underWay: false }],
    [
      'connect that did not wait',
      event('connect', { a0: '3', exit: '-115' }, { success: false }),
      { call: 'connect', fd: 3, underWay: true },
    ],
    [
      'connect that a signal ended',
      event('connect', { a0: '3', exit: '-4' }, { success: false }),
      { call: 'connect', fd: 3, underWay: true },
    ],
    ['accept', event('accept', { a0: '3', exit: '5' }), { call: 'accept', fd: 5, listener: 3 }],
    ['accept4', event('accept4', { a0: '3', exit: '5' }), { call: 'accept', fd: 5, listener: 3 }],
    ['socket by socketcall', event('socketcall', { a0: '1', exit: '4' }, { socketcall: [10, 0x801, 0] }), TCP],
    [
      'connect by socketcall',
      event('socketcall', { a0: '3', exit: '-115' }, { success: false, socketcall: [3, 0xffff, 16] }),
      { call: 'connect', fd: 3, underWay: true },
    ],
    [
      'accept by socketcall',
      event('socketcall', { a0: '5', exit: '5' }, { socketcall: [3, 0, 0] }),
      { call: 'accept', fd: 5, listener: 3 },
    ],
    [
      'accept4 by socketcall',
      event('socketcall', { a0: '12', exit: '5' }, { socketcall: [3, 0, 0, 0] }),
      { call: 'accept', fd: 5, listener: 3 },
    ],
    [
      'connect by socketcall whose arguments were lost',
      event('socketcall', { a0: '3', exit: '0' }),
      { call: 'connect', fd: -1, underWay: false },
    ],
    [
      'a descriptor that is none',
      event('connect', { a0: 'ffffffff', exit: '0' }),
      { call: 'connect', fd: -1, underWay: false },
    ],
  ] as const) {
    it(`parses ${what}`, () => assert.deepEqual(socketCallOf(given), expected));
  }

  for (const [what, given] of Object.entries({
    'a connection that was refused': event('connect', { a0: '3', exit: '-111' }, { success: false }),
    'a connection that is there already': event('connect', { a0: '3', exit: '-106' }, { success: false }),
    'an accept that failed': event('accept', { a0: '3', exit: '-11' }, { success: false }),
    'a socket that could not be made': event('socket', { a0: '2', a1: '1', exit: '-24' }, { success: false }),
    'another call': event('execve', { a0: '3', exit: '0' }),
    'what else socketcall does': event('socketcall', { a0: '2', exit: '0' }, { socketcall: [3, 0, 16] }),
    'names that objects have': event('constructor', { a0: '3', exit: '0' }),
  })) {
    it(`skips ${what}`, () => assert.equal(socketCallOf(given), undefined));
  }

  it('accepts any fields', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n }).map((n) => n.toString(16)),
    );
    const fields = fc.record(
      { a0: text, a1: text, a2: text, exit: fc.oneof(text, fc.integer().map(String)) },
      { requiredKeys: [] },
    );
    const name = fc.constantFrom('socket', 'connect', 'accept', 'accept4', 'socketcall', '__proto__');
    const args = fc.array(fc.oneof(fc.integer(), fc.double()), { maxLength: 6 });
    fc.assert(
      fc.property(name, fields, fc.boolean(), args, (syscall, given, success, socketcall) => {
        const call = socketCallOf(event(syscall, given, { success, socketcall }));
        if (call === undefined) return;
        const numbers = call.call === 'accept' ? [call.fd, call.listener] : [call.fd];
        for (const fd of numbers) assert.ok(Number.isInteger(fd) && fd >= -1 && fd < 2 ** 31);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

it('audits connections by socket, connect and accept, with both interfaces of 32-bit programs', () => {
  assert.deepEqual(CONNECTION_RULES, [
    { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: 2 } },
    { syscalls: ['connect'], ringOperations: ['connect'], where: { saddr_fam: 10 } },
    { syscalls: ['accept', 'accept4'], where: { success: 1 } },
    { syscalls: ['socket'], where: { a0: 2, success: 1 } },
    { syscalls: ['socket'], where: { a0: 10, success: 1 } },
    { syscalls: ['socketcall'], where: { a0: 1 } },
    { syscalls: ['socketcall'], where: { a0: 3 } },
    { syscalls: ['socketcall'], where: { a0: 5 } },
    { syscalls: ['socketcall'], where: { a0: 18 } },
  ]);
});
