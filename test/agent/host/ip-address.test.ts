import assert from 'node:assert/strict';
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import fc from 'fast-check';
import { formatAddress, isLinkLocal, parseProcAddress } from '../../../src/agent/host/ip-address.ts';
import { fuzzRuns } from '../../fuzz.ts';

const bytes = (hex: string) => Buffer.from(hex.replaceAll(':', ''), 'hex');

describe('formatAddress', () => {
  // The examples of RFC 5952, 4 and 5, and the corners beside them.
  for (const [hex, text] of [
    ['7f000001', '127.0.0.1'],
    ['00000000', '0.0.0.0'],
    ['0000:0000:0000:0000:0000:0000:0000:0000', '::'],
    ['0000:0000:0000:0000:0000:0000:0000:0001', '::1'],
    ['0001:0000:0000:0000:0000:0000:0000:0000', '1::'],
    ['2001:0db8:0000:0000:0000:0000:0002:0001', '2001:db8::2:1'],
    ['2001:0db8:0000:0001:0001:0001:0001:0001', '2001:db8:0:1:1:1:1:1'],
    ['2001:0000:0000:0001:0000:0000:0000:0001', '2001:0:0:1::1'],
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['2001:0db8:aaaa:bbbb:cccc:dddd:eeee:aaaa', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa'],
    ['0000:0000:0000:0000:0000:ffff:c000:0280', '192.0.2.128'],
    ['0000:0000:0000:0000:0001:ffff:c000:0280', '::1:ffff:c000:280'],
    ['fe80:0000:0000:0000:0222:c0ff:fe2b:8f52', 'fe80::222:c0ff:fe2b:8f52'],
  ] as const) {
    it(`writes ${hex} as ${text}`, () => assert.equal(formatAddress(bytes(hex)), text));
  }

  it('rejects bytes that are not an address', () => assert.throws(() => formatAddress(Buffer.alloc(5)), RangeError));

  it('writes addresses that Node parses as the same ones', () => {
    const address = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })), {
      minLength: 16,
      maxLength: 16,
    });
    fc.assert(
      fc.property(address, (of) => {
        // Node still writes the deprecated ::a.b.c.d (RFC 4291, 2.5.5.1) with dots; RFC 5952 asks for that nowhere.
        fc.pre(of.slice(0, 12).some((byte) => byte !== 0));
        const text = formatAddress(Uint8Array.from(of));
        if (isIPv4(text)) assert.deepEqual(text.split('.').map(Number), of.slice(12));
        else {
          assert.ok(isIPv6(text) && text === text.toLowerCase());
          assert.equal(new SocketAddress({ address: text, family: 'ipv6' }).address, text);
        }
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });
});

describe('isLinkLocal', () => {
  for (const [hex, expected] of [
    [`fe80${'0'.repeat(28)}`, true],
    [`febf${'0'.repeat(28)}`, true],
    [`fec0${'0'.repeat(28)}`, false],
    [`ff02${'0'.repeat(28)}`, true],
    [`ff05${'0'.repeat(28)}`, false],
    ['0'.repeat(32), false],
    ['a9fe0101', false],
  ] as const) {
    it(`returns ${expected} for ${hex}`, () => assert.equal(isLinkLocal(bytes(hex)), expected));
  }
});

describe('parseProcAddress', () => {
  it('reads words in the byte order of the host', () => {
    assert.deepEqual(parseProcAddress('0100007F', 'LE'), bytes('7f000001'));
    assert.deepEqual(parseProcAddress('7F000001', 'BE'), bytes('7f000001'));
    const loopback = bytes(`${'0'.repeat(31)}1`);
    assert.deepEqual(parseProcAddress('00000000000000000000000001000000', 'LE'), loopback);
    assert.deepEqual(parseProcAddress('00000000000000000000000000000001', 'BE'), loopback);
  });

  it('accepts any text, and returns addresses only', () => {
    fc.assert(
      fc.property(fc.string(), (text) => assert.equal(parseProcAddress(text)?.length ?? 4, 4)),
      { numRuns: fuzzRuns(5_000) },
    );
    assert.equal(parseProcAddress('0100007'), undefined);
    assert.equal(parseProcAddress('0100007G'), undefined);
  });
});
