import assert from 'node:assert/strict';
import { parseNetwork } from '../../../src/core/contract/ip-network.ts';

describe('parseNetwork', () => {
  it('knows its addresses', () => {
    const has = (cidr: string, address: string) => parseNetwork(cidr)?.has(address);
    assert.deepEqual(
      [
        has('192.0.2.0/24', '192.0.2.255'),
        has('192.0.2.7', '192.0.2.7'),
        has('2001:db8::/32', '2001:db8::1'),
        has('0.0.0.0/0', '1.2.3.4'),
        has('192.0.2.0/24', '::ffff:192.0.2.1'),
        has('::ffff:192.0.2.0/120', '192.0.2.1'),
        has('fe80::/10', 'fe80::1%eth0'),
        has('::ffff:c000:200/120', '::ffff:192.0.2.1'),
      ],
      Array(8).fill(true),
    );
    assert.deepEqual(
      [
        has('192.0.2.0/24', '192.0.3.0'),
        has('192.0.2.7', '192.0.2.8'),
        has('0.0.0.0/0', '::1'),
        has('::/0', '1.2.3.4'),
        has('::/0', '::ffff:1.2.3.4'),
        has('::/0', 'x'),
        has('::/0', ''),
      ],
      Array(7).fill(false),
    );
  });

  for (const wrong of [
    '',
    '1.2.3',
    '1.2.3.4/33',
    '::/129',
    '1.2.3.4/',
    '1.2.3.4/8/8',
    '1.2.3.4/-1',
    '/8',
    'x/8',
    ' 10.0.0.0/8',
    'fe80::%eth0/10',
  ]) {
    it(`takes "${wrong}" for no network`, () => assert.equal(parseNetwork(wrong), undefined));
  }
});
