import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import sinon from 'sinon';
import {
  hasIpv6,
  Interfaces,
  interfaceNames,
  parseInterfaces,
} from '../../../../src/agent/linux/machine/interfaces.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

const ETH0 = 'fe800000000000000222c0fffe2b8f52 0a 40 20 80     eth0';

describe('parseInterfaces', () => {
  it('reads names by index', () => assert.deepEqual([...parseInterfaces(`${ETH0}\nnonsense\n`)], [[10, 'eth0']]));

  it('accepts any text', () => {
    const mutated = fc.tuple(fc.nat(ETH0.length), fc.string()).map(([at, text]) => ETH0.slice(0, at) + text + ETH0);
    fc.assert(
      fc.property(fc.oneof(fc.string(), mutated), (text) => {
        for (const [index, name] of parseInterfaces(text)) assert.match(`${index} ${name}`, /^\d+ \S+$/);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

describe('Interfaces', () => {
  let proc: string;
  let clock: sinon.SinonFakeTimers;

  beforeEach(() => {
    proc = temporaryFolder();
    mkdirSync(join(proc, 'net'));
    clock = sinon.useFakeTimers();
  });
  afterEach(() => {
    clock.restore();
  });
  const say = (text: string) => writeFileSync(join(proc, 'net/if_inet6'), text);

  it('returns new names a second later, and drops removed ones', async () => {
    const interfaces = new Interfaces({ clock: systemClock, proc });
    assert.equal(interfaces.interfaceName(10), undefined);
    say(`${ETH0}\n`);
    assert.equal(interfaces.interfaceName(10), undefined);
    await clock.tickAsync(1_000);
    assert.equal(interfaces.interfaceName(10), 'eth0');
    say('');
    await clock.tickAsync(1_000);
    assert.equal(interfaces.interfaceName(10), undefined);
  });

  it('returns no names without IPv6', () => assert.equal(interfaceNames(join(proc, 'nowhere')).size, 0));

  it('detects whether IPv6 is in use: loopback alone does not count', () => {
    assert.equal(hasIpv6(join(proc, 'nowhere')), false);
    const loopback = '00000000000000000000000000000001 01 80 10 80       lo';
    say(`${loopback}\n`);
    assert.equal(hasIpv6(proc), false);
    say(`${loopback}\n${ETH0}\n`);
    assert.equal(hasIpv6(proc), true);
  });
});
