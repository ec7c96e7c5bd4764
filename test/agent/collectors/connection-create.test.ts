import assert from 'node:assert/strict';
import { connectionCreate } from '../../../src/agent/collectors/connection-create.ts';
import { blanked as blankedBy } from '../../../src/agent/pipeline/element-table.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import type { ConnectionSeen } from '../../../src/core/contract/streams.ts';
import { look, records } from './samples.ts';

const payload = (change: Partial<ConnectionSeen> = {}, lookups: Lookups = look) =>
  connectionCreate.translate({ ...records.connections, ...change }, lookups);

const { local: _, commandLine: __, ...bare } = records.connections;

const taken: Partial<ConnectionSeen> = {
  direction: 'In',
  remote: { address: '192.0.2.7', port: 50_113 },
  local: { address: '192.0.2.2', port: 22 },
};

describe('ConnectionCreate', () => {
  it('reports both endpoints and the program', () => {
    assert.deepEqual(payload(), {
      RemoteAddress: '2001:db8::7',
      RemotePort: '443',
      LocalAddress: '2001:db8::1',
      LocalPort: '50112',
      Direction: 'Out',
      Protocol: 'TCP',
      ProcessId: 1445,
      UserId: '1000',
      Executable: '/usr/bin/curl',
      CommandLine: 'curl https://example.com/',
    });
  });

  it('omits unknown facts', () => {
    assert.deepEqual(connectionCreate.translate(bare, look), {
      RemoteAddress: '2001:db8::7',
      RemotePort: '443',
      Direction: 'Out',
      Protocol: 'TCP',
      ProcessId: 1445,
      UserId: '1000',
      Executable: '/usr/bin/curl',
    });
    const { LocalAddress, LocalPort } = payload({ local: { port: 22 } }) ?? {};
    assert.deepEqual([LocalAddress, LocalPort], [undefined, '22']);
  });

  for (const [what, change, zone] of [
    ['the interface of a link-local peer', { remote: { address: 'fe80::7', port: 22, interfaceIndex: 2 } }, 'eth0'],
    ['that of the local end', { local: { address: 'fe80::1', interfaceIndex: 2 } }, 'eth0'],
    ['the number of one without a name', { remote: { address: 'fe80::7', port: 22, interfaceIndex: 9 } }, '9'],
  ] as const) {
    it(`reports ${what}`, () => assert.deepEqual(payload(change)?.ExtraDetails, { Zone: zone }));
  }

  it('reports the container, looked up by the process and its parent', () => {
    const lookups: Lookups = { ...look, containerId: (pid, parentPid) => `${pid} of ${parentPid}` };
    assert.deepEqual(payload({}, lookups)?.ExtraDetails, { ContainerId: '1445 of 1444' });
  });
});

describe('aggregated ConnectionCreate', () => {
  const { aggregate = assert.fail() } = connectionCreate;
  const blanked = (change: Partial<ConnectionSeen> = {}) => blankedBy(aggregate, payload(change) ?? {}).payload;

  it('omits the process and the ephemeral port of an outbound connection', () => {
    assert.deepEqual(blanked(), {
      RemoteAddress: '2001:db8::7',
      RemotePort: '443',
      LocalAddress: '2001:db8::1',
      Direction: 'Out',
      Protocol: 'TCP',
      ProcessId: 0,
      UserId: '1000',
      Executable: '/usr/bin/curl',
      CommandLine: 'curl https://example.com/',
    });
  });

  it("omits the process and the peer's port of an inbound connection", () => {
    const { RemotePort, LocalPort, ProcessId } = blanked(taken);
    assert.deepEqual([RemotePort, LocalPort, ProcessId], ['0', '22', 0]);
    assert.ok(!('LocalPort' in blanked({ ...taken, local: { address: '192.0.2.2' } })));
  });

  it('omits details', () => {
    assert.equal(blanked({ remote: { address: 'fe80::7', port: 22, interfaceIndex: 2 } }).ExtraDetails, undefined);
  });

  it('distinguishes connections by all other fields', () => {
    const fields = 'RemoteAddress CommandLine Executable UserId Direction LocalAddress Protocol LocalPort RemotePort';
    assert.deepEqual(aggregate.by, fields.split(' '));
  });

  it('reports the result of a connect by io_uring as unknown, even when aggregated', () => {
    const made = payload({ byRing: true });
    assert.deepEqual(made?.ExtraDetails, { Source: 'io_uring', Result: 'unknown' });
    const rule = connectionCreate.aggregate;
    assert.ok(rule && made);
    assert.deepEqual(blankedBy(rule as never, made).payload.ExtraDetails, made.ExtraDetails);
  });
});
