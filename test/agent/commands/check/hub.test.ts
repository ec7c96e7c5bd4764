import assert from 'node:assert/strict';
import { HubEmulator } from '../../../../src/emulator/hub.ts';
import { assertFinding, CheckBench } from './bench.ts';

const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';
const MODULE = { deviceId: 'device1', moduleId: 'azureiotsecurity' };

describe('vakt check: the hub', () => {
  let bench: CheckBench;
  let emulator: HubEmulator;
  beforeEach(async () => {
    bench = new CheckBench();
    emulator = await HubEmulator.start({ modules: [{ ...MODULE, primaryKey: bench.key }] });
    bench.after(() => emulator.stop());
    bench.write('ca.pem', emulator.caPem);
    const gatewayHostName = `localhost:${emulator.port}`;
    bench.configure({ hub: { hostName: emulator.hostName, gatewayHostName, trustedCaFile: 'ca.pem' } });
  });
  afterEach(() => bench.close());

  const look = () => bench.look('identity', 'secrets', 'way', 'hub');
  const last = async () => (await look()).at(-1);

  it('check reports that the hub accepts the identity and returns the twin', async () => {
    const [accepted, twin] = (await look()).slice(-2);
    assertFinding(accepted, 'ok', /^the identity is accepted$/);
    assertFinding(twin, 'ok', /^readable, desired version 1, without ms_iotn.*: all settings have their defaults$/);
    emulator.patchDesired('device1', 'azureiotsecurity', { [OBJECT]: { snapshotFrequency: { value: 'PT1H' } } });
    assertFinding(await last(), 'ok', /^readable, desired version 2$/);
  });

  it('check reports that the hub refuses to return the twin', async () => {
    emulator.faults.inject({ kind: 'twinStatus', status: 404 });
    assertFinding(await last(), 'wrong', /MODULE_UNKNOWN/, /az iot hub module-identity create/);
  });

  it('check reports invalid settings in the twin', async () => {
    const configuration = { snapshotFrequency: { value: 'soon' }, maxMessageSizeInBytes: { value: 1 } };
    emulator.patchDesired('device1', 'azureiotsecurity', { [OBJECT]: configuration });
    assertFinding(
      await last(),
      'wrong',
      /not applied: snapshotFrequency must .*; maxMessageSizeInBytes/,
      /Correct the desired/,
    );
  });

  it('check does not connect to the hub if other users can read the secret', async () => {
    bench.write('module.key', bench.key, 0o644);
    await look();
    assert.equal(emulator.connections.length, 0);
  });

  it('check reports the hub connection of a running agent instead of connecting itself', async () => {
    await bench.run({
      state: 'degraded',
      hub: { state: 'refused', error: 'it is not let in', remedy: 'Give it its key.' },
      configuration: { errors: {} },
    });
    assertFinding(
      await last(),
      'wrong',
      /^the running agent is not connected: it is not let in$/,
      /^Give it its key\.$/,
    );
    assert.equal(emulator.connections.length, 0);
  });

  it('check reports settings that the running agent does not apply', async () => {
    await bench.run({
      state: 'degraded',
      hub: { state: 'connected' },
      configuration: { errors: { snapshotFrequency: 'must be a duration' } },
    });
    assertFinding(await last(), 'wrong', /not applied: snapshotFrequency must be a duration$/, /Correct/);
  });

  describe('an agent that was started by another configuration', () => {
    const other = { state: 'degraded', version: '1', localFileHash: 'of another file', configuration: { errors: {} } };

    it('check only notes that an agent with another configuration is not connected', async () => {
      await bench.run({
        ...other,
        hub: { state: 'refused', error: 'it is not let in', id: 'X', remedy: 'Let it in.' },
      });
      const found = await bench.look('running agent', 'identity', 'secrets', 'way', 'hub');
      assertFinding(
        found[0],
        'note',
        /; its status .* but it was started by another configuration than .*agent\.json$/,
        /restart the agent: systemctl restart vakt$/,
      );
      assertFinding(
        found.at(-1),
        'note',
        /^the running agent is not connected: it is not let in \(X\) \(by the configuration .* not by .*agent\.json\)$/,
        /^Let it in\.$/,
      );
      assert.ok(found.every(({ state }) => state !== 'wrong'));
    });

    it('check only notes that an agent with another configuration does not apply its twin', async () => {
      const configuration = { errors: { snapshotFrequency: 'must be a duration' } };
      await bench.run({ ...other, hub: { state: 'connected' }, configuration });
      const [connected, refused] = (await look()).slice(-2);
      assertFinding(connected, 'ok', /^the running agent is connected \(by the configuration that the agent/);
      assertFinding(refused, 'note', /not applied: snapshotFrequency must be a duration \(by the configuration/);
    });
  });

  it('check only notes the connection error of an agent that has no configuration file', async () => {
    const hub = { state: 'refused', error: 'it is not let in', remedy: 'Give it its key.' };
    await bench.run({ state: 'degraded', localFileHash: '', hub, configuration: { errors: {} } });
    assertFinding(await last(), 'note', /not connected: it is not let in \(by the configuration/);
  });

  it('check notes a message routing that sends only to the retired security service', async () => {
    bench.configure({ messageRouting: 'security' });
    const found = await bench.lookAt('message routing');
    assertFinding(found, 'note', /As of 2026-12-01, Microsoft plans to retire .* on 2027-06-01/, /"telemetry".*route/);
    assertFinding(found, 'note', /alerts are sent as Diagnostic events only/);
    for (const [messageRouting, finding] of [
      ['telemetry', /your own routes, by the condition messageType = 'SecurityEvents'$/],
      ['both', /copies without SecurityAlert to Microsoft's security service$/],
    ] as const) {
      bench.configure({ messageRouting });
      assertFinding(await bench.lookAt('message routing'), 'ok', finding);
    }
  });
});
