import assert from 'node:assert/strict';
import fc from 'fast-check';
import { hostNameProblem, hubNamesOf, isSameHub } from '../../../src/core/contract/hub-names.ts';
import { addressOf } from '../../../src/core/network/address.ts';
import { fuzzRuns } from '../../fuzz.ts';

describe('hostNameProblem', () => {
  for (const text of [
    'hub.azure-devices.net',
    'hub.net.',
    'a_b',
    'gw:1',
    'gw:65535',
    '10.0.0.1:8883',
    '[::1]',
    '[fe80::1]:443',
  ]) {
    it(`takes ${text}`, () => assert.equal(hostNameProblem(text), undefined));
  }

  for (const text of ['gw:0', 'gw:65536', 'h.azure-devices.net:99999', '[::1]:70000']) {
    it(`refuses ${text}, and says which ports there are`, () => {
      assert.match(hostNameProblem(text) ?? '', /port.* 1 to 65535/);
    });
  }

  for (const text of ['', ' ', 'my gw', 'gw:', 'gw:x', 'a..:1:2', '::1', '[1:2]', '[:]:443', '-a', 'user@h', 'hä']) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.match(hostNameProblem(text) ?? '', /^must be a host name such as .* and blanks$/);
    });
  }

  it('suggests the host name of a URL', () => {
    assert.match(hostNameProblem('https://hub.net:443/devices') ?? '', /: write "hub\.net:443"$/);
    assert.match(hostNameProblem(' hub.net\n') ?? '', /: write "hub\.net"$/);
    assert.doesNotMatch(hostNameProblem('https://hub.net:99999/') ?? '', /write/);
  });

  it('takes nothing that cannot be connected to', () => {
    const text = fc.oneof(
      fc.stringMatching(/^[a-f0-9:.[\]_-]{1,12}$/),
      fc
        .tuple(fc.constantFrom('gw', '[::1]', '[1::2]', '10.0.0.1'), fc.nat(100_000))
        .map(([host, port]) => `${host}:${port}`),
    );
    fc.assert(
      fc.property(text, (name) => {
        fc.pre(hostNameProblem(name) === undefined);
        addressOf(name, 443);
      }),
      { numRuns: fuzzRuns(1_000) },
    );
  });
});

describe('hubNamesOf and isSameHub', () => {
  const [classic, device, service] = [
    'contoso.azure-devices.net',
    'contoso.device.azure-devices.net',
    'contoso.service.azure-devices.net',
  ];
  for (const name of [classic, device, service, 'Contoso.azure-devices.net', `${device}.`]) {
    it(`returns all names of the hub of ${name}`, () => {
      assert.deepEqual(hubNamesOf(name), { classic, device, service });
      assert.ok(isSameHub(name, classic));
    });
  }

  it('keeps the domain of a national cloud', () => {
    assert.equal(hubNamesOf('a.azure-devices.us').device, 'a.device.azure-devices.us');
    assert.ok(!isSameHub('a.azure-devices.us', 'a.azure-devices.net'));
  });

  for (const other of ['fabrikam.azure-devices.net', 'contoso.azure-devices.net.example', 'contoso', 'localhost']) {
    it(`distinguishes ${other} from contoso`, () => assert.ok(!isSameHub(other, device)));
  }

  it('returns one name for another domain', () => {
    assert.deepEqual(Object.values(hubNamesOf('device.example')), [
      'device.example',
      'device.example',
      'device.example',
    ]);
  });
});
