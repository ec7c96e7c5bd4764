import assert from 'node:assert/strict';
import fc from 'fast-check';
import { addressOf, parseProcNetLine, TCP_LISTEN } from '../../../src/agent/host/proc-net.ts';
import { fuzzRuns } from '../../fuzz.ts';

const LISTENER =
  '   0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 1234 1 0000000000000000 100 0 0 10 5';
const CONNECTED =
  ' 471: 0000000000000000FFFF00000100007F:8BC3 0000000000000000FFFF00000200007F:A6CE 01 00000000:00000000 00:00000000 00000000     0        0 70001 1';

describe('parseProcNetLine', () => {
  it('parses a listener, and a connection by IPv6', () => {
    assert.deepEqual(parseProcNetLine(LISTENER), {
      local: { hex: '3500007F', port: 53 },
      remote: { hex: '00000000', port: 0 },
      state: TCP_LISTEN,
      userId: 101,
      inode: 1234,
    });
    const connected = parseProcNetLine(CONNECTED);
    assert.deepEqual(
      [connected?.local.port, connected?.remote.port, connected?.state, connected?.inode],
      [35_779, 42_702, 1, 70_001],
    );
    assert.deepEqual([...(addressOf(connected?.remote ?? { hex: '', port: 0 }, 'LE') ?? [])].slice(-4), [127, 0, 0, 2]);
  });

  for (const [what, line] of Object.entries({
    'the heading': '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    'an address of seven digits': LISTENER.replace('3500007F', '500007F'),
    'a line cut short': LISTENER.slice(0, 90),
    nothing: '',
  })) {
    it(`skips ${what}`, () => assert.equal(parseProcNetLine(line), undefined));
  }

  it('accepts any text, even almost valid text', () => {
    const damaged = fc
      .tuple(fc.constantFrom(LISTENER, CONNECTED), fc.nat(150), fc.string({ maxLength: 5 }))
      .map(([line, at, noise]) => line.slice(0, at) + noise + line.slice(at + 1));
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 300 }), damaged), (line) => {
        const socket = parseProcNetLine(line);
        if (socket === undefined) return;
        assert.ok(Number.isSafeInteger(socket.inode) && Number.isSafeInteger(socket.userId));
        for (const end of [socket.local, socket.remote]) {
          assert.ok(end.port >= 0 && end.port < 65_536);
          assert.ok([4, 16].includes(addressOf(end)?.length ?? 0));
        }
      }),
      { numRuns: fuzzRuns(50_000) },
    );
  });
});
