import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { endianness } from 'node:os';
import fc from 'fast-check';
import { parseSocketAddress } from '../../../../src/agent/linux/audit/socket-address.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { skip } from '../../../harness/require.ts';

/** As `npm run capture -- connections` recorded them. */
const GOLDEN = [
  ...new Set(
    Array.from(
      readFileSync('test/golden/debian13-6.18/audit-connect.txt', 'latin1').matchAll(/ saddr=(\S+)/g),
      ([, hex = '']) => hex,
    ),
  ),
];

describe('parseSocketAddress', () => {
  before(function () {
    if (endianness() !== 'LE') return skip(this, 'the records are of a little-endian machine');
  });

  for (const [what, hex, expected] of [
    ['IPv4', '020001BBC00002070000000000000000', { address: '192.0.2.7', port: 443 }],
    ['IPv4 without padding', '020001BBC0000207', { address: '192.0.2.7', port: 443 }],
    ['port 0', '02000000C0000207', { address: '192.0.2.7', port: 0 }],
    ['IPv6', '0A0001BB0000000020010DB800000000000000000000000700000000', { address: '2001:db8::7', port: 443 }],
    ['IPv6 without a scope', '0A0001BB0000000020010DB8000000000000000000000007', { address: '2001:db8::7', port: 443 }],
    [
      'IPv4 mapped into IPv6',
      '0A0001BB0000000000000000000000000000FFFFC000020700000000',
      { address: '192.0.2.7', port: 443 },
    ],
    [
      'the interface of a link-local address',
      '0A0001BB00000000FE80000000000000000000000000000103000000',
      { address: 'fe80::1', port: 443, interfaceIndex: 3 },
    ],
    [
      'no interface of another address',
      '0A0001BB0000000020010DB800000000000000000000000703000000',
      { address: '2001:db8::7', port: 443 },
    ],
  ] as const) {
    it(`parses ${what}`, () => assert.deepEqual(parseSocketAddress(hex), expected));
  }

  for (const [what, hex] of Object.entries({
    nothing: undefined,
    'an empty text': '',
    'a socket in the file system': '01002F72756E2F6462757300',
    'no family, which disconnects': '00000000000000000000000000000000',
    netlink: '100000000000000000000000',
    'IPv4 cut short': '020001BBC00002',
    'IPv6 cut short': '0A0001BB0000000020010DB80000000000000000000000',
    'a family of two bytes that has 2 in it': '020201BBC0000207',
    'what is no hexadecimal text': '02000x0BC00002070000000000000000',
    'more than any address has': '02'.repeat(129),
  })) {
    it(`skips ${what}`, () => assert.equal(parseSocketAddress(hex), undefined));
  }

  it('parses every address of the golden records', () => {
    assert.ok(GOLDEN.length >= 10);
    for (const hex of GOLDEN) {
      const { address = '', port } = parseSocketAddress(hex) ?? {};
      assert.ok(['127.0.0.1', '::1', '192.0.2.1'].includes(address), hex);
      assert.ok(port !== undefined && port > 0);
    }
  });

  it('accepts any text, even almost valid text', () => {
    const damaged = fc
      .tuple(fc.constantFrom(...GOLDEN), fc.nat(60), fc.string({ maxLength: 4 }), fc.nat(60))
      .map(([hex, at, noise, length]) => hex.slice(0, at) + noise + hex.slice(at + 1, at + length));
    const digits = fc.uint8Array({ maxLength: 140 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    fc.assert(
      fc.property(fc.oneof(fc.string(), digits, damaged), (hex) => {
        const end = parseSocketAddress(hex);
        if (end === undefined) return;
        assert.notEqual(isIP(end.address), 0);
        assert.ok(end.port >= 0 && end.port < 65_536);
        if (end.interfaceIndex !== undefined) assert.ok(end.interfaceIndex > 0 && end.address.startsWith('f'));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
