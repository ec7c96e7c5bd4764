import assert from 'node:assert/strict';
import { addressOf, hostAndPort } from '../../../src/core/network/address.ts';
import { isExempt } from '../../../src/core/network/proxy.ts';

describe('NO_PROXY', () => {
  for (const [noProxy, hosts] of Object.entries({
    '*': { yes: ['hub.example:8883', '10.0.0.1:1', '[::1]:1'], no: [] },
    '': { yes: [], no: ['hub.example:443'] },
    ' , ,': { yes: [], no: ['hub.example:443'] },
    'example.com': {
      yes: ['example.com:443', 'www.example.com:443', 'a.b.EXAMPLE.com:8883', 'example.com.:443'],
      no: ['notexample.com:443', 'example.com.org:443', 'example:443', 'com:443'],
    },
    '.Example.com': { yes: ['example.com:443', 'www.example.com:443'], no: ['notexample.com:443'] },
    '*.example.com.': { yes: ['www.example.com:443'], no: ['notexample.com:443'] },
    'a.example, localhost  b.example': { yes: ['a.example:1', 'localhost:1', 'b.example:1'], no: ['c.example:1'] },
    'example.com:8883': { yes: ['example.com:8883', 'www.example.com:8883'], no: ['example.com:443'] },
    '10.0.0.1': { yes: ['10.0.0.1:443'], no: ['10.0.0.11:443', 'x.10.0.0.1:443'] },
    '10.0.0.1:443': { yes: ['10.0.0.1:443'], no: ['10.0.0.1:8883'] },
    '10.0.0.0/8': { yes: ['10.255.0.1:443'], no: ['11.0.0.1:443', 'hub.example:443', '[::1]:443'] },
    '10.0.0.0/33': { yes: [], no: ['10.0.0.0:443'] },
    '0.0.0.0/0': { yes: ['192.0.2.1:443'], no: ['hub.example:443'] },
    '::1': { yes: ['[::1]:443', '[0:0:0:0:0:0:0:1]:443'], no: ['[::2]:443', '127.0.0.1:443'] },
    '[::1]': { yes: ['[::1]:443'], no: ['[::2]:443'] },
    '[::1]:443': { yes: ['[::1]:443'], no: ['[::1]:8883'] },
    'fd00::/8': { yes: ['[fdff::1]:443'], no: ['[fe80::1]:443', '10.0.0.1:443'] },
    '[fd00::]/8': { yes: ['[fd00::1]:443'], no: ['[2001:db8::1]:443'] },
    'http://example.com': { yes: [], no: ['example.com:443'] },
    '/8,:,[,]:1,*:443,.,10.0.0.0/,::/,a/b': { yes: [], no: ['example.com:443', '10.0.0.1:443', '[::1]:443'] },
  } satisfies Record<string, { yes: string[]; no: string[] }>)) {
    const { yes, no } = hosts as { yes: string[]; no: string[] };
    it(`"${noProxy}" exempts ${yes.join(', ') || 'none'}; not ${no.join(', ') || 'any other'}`, () => {
      for (const host of yes) assert.equal(isExempt(addressOf(host, 443), noProxy), true, host);
      for (const host of no) assert.equal(isExempt(addressOf(host, 443), noProxy), false, host);
    });
  }
});

describe('addressOf', () => {
  for (const [text, host, port] of [
    ['hub.example', 'hub.example', 443],
    ['hub.example:8883', 'hub.example', 8883],
    ['a_b:1', 'a_b', 1],
    ['10.0.0.1', '10.0.0.1', 443],
    ['10.0.0.1:65535', '10.0.0.1', 65_535],
    ['::1', '::1', 443],
    ['[::1]', '::1', 443],
    ['[2001:db8::1]:8883', '2001:db8::1', 8883],
  ] as const) {
    it(`reads ${text}`, () => {
      assert.deepEqual(addressOf(text, 443), { host, port });
      assert.deepEqual(addressOf(hostAndPort({ host, port }), 1), { host, port });
    });
  }

  for (const text of [
    '',
    ':443',
    'hub:',
    'hub:0',
    'hub:65536',
    'hub:x',
    '[::1',
    '[hub]:1',
    '[1.2.3.4]',
    'a b',
    'a/b',
    'u@h',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => addressOf(text, 443), RangeError));
  }
});
