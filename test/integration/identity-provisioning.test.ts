import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, minutes, seconds } from '../../src/core/base/duration.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { selfSigned } from '../../src/emulator/certificates.ts';
import type { HubEmulator } from '../../src/emulator/hub.ts';
import { deriveDeviceKey } from '../../src/emulator/provisioning/enrollments.ts';
import { newKey } from '../agent/hub/support.ts';
import { ProvisioningBed } from '../agent/identity/provisioning-bed.ts';
import { until } from '../harness/until.ts';
import { AgentProcess, assertClosed, MODULE, NO_LIMITS, OBJECT, STEADY } from './test-bed.ts';

const ID = 'gateway7';
const DEVICE = 'device7';
const CALM = { ...STEADY, snapshotFrequency: { value: 'P30D' } };

/** The services that replace Azure, and the files of one device. */
class Fleet {
  readonly key = newKey();
  readonly groupKey = newKey();
  readonly directory = mkdtempSync(join(tmpdir(), 'vakt-test-'));
  readonly #agents: AgentProcess[] = [];
  #bed: ProvisioningBed | undefined;

  static async open(): Promise<Fleet> {
    const fleet = new Fleet();
    fleet.#bed = await ProvisioningBed.open({
      individuals: [{ registrationId: ID, deviceId: DEVICE, primaryKey: fleet.key }],
      groups: [{ name: 'fleet', primaryKey: fleet.groupKey }],
    });
    fleet.write('ca.pem', fleet.bed.caPem);
    fleet.write('device.key', `${fleet.key}\n`);
    fleet.write('group.key', `${fleet.groupKey}\n`);
    mkdirSync(join(fleet.directory, 'state'), { mode: 0o700 });
    // Applied before the twin is read: a module that the agent creates has an empty twin.
    fleet.write('state/last-good-configuration.json', JSON.stringify({ configuration: STEADY }));
    for (const hub of fleet.bed.hubs) {
      // Like the owner of the hub, this configures modules as soon as they are created.
      hub.on('restRequest', ({ method, status, path }) => {
        if (method !== 'PUT' || status >= 300) return;
        const [, deviceId = ''] = /^\/devices\/([^/]+)\/modules\//.exec(path) ?? [];
        hub.patchDesired(deviceId, MODULE, { [OBJECT]: STEADY });
      });
    }
    return fleet;
  }

  get bed(): ProvisioningBed {
    assert.ok(this.#bed);
    return this.#bed;
  }

  write(name: string, contents: string, mode = 0o600): string {
    const file = join(this.directory, name);
    writeFileSync(file, contents, { mode });
    chmodSync(file, mode);
    return file;
  }

  start(identity: object = { registrationId: ID, keyFile: 'device.key' }): AgentProcess {
    const configuration = {
      hub: { trustedCaFile: 'ca.pem', proxy: this.bed.proxyUrl },
      identity: { kind: 'provisioning', idScope: this.bed.service.idScope, ...identity },
      stateDirectory: 'state',
      controlSocket: 'control.sock',
      messageRouting: 'telemetry',
      limits: NO_LIMITS,
    };
    this.write('agent.json', JSON.stringify(configuration));
    const agent = new AgentProcess(this.directory);
    this.#agents.push(agent);
    return agent;
  }

  /** Distinct events at both hubs. */
  events(): Envelope[] {
    const all = this.bed.hubs
      .flatMap(({ messages }) => messages)
      .flatMap(({ body }) => (JSON.parse(body) as { Events: Envelope[] }).Events);
    return [...new Map(all.map((event) => [event.Id, event])).values()];
  }

  /** Number of events as `delivered` counts them. */
  get received(): number {
    return this.events().reduce(
      (all, { Category, Payload }) => all + (Category === 'Periodic' ? 1 : Payload.length),
      0,
    );
  }

  /** Stops everything, then searches for secrets. @param derived keys that no file contains */
  async close(...derived: string[]): Promise<void> {
    try {
      for (const agent of this.#agents) await agent.end();
      const keys = this.bed.hubs.flatMap((hub) =>
        hub.modules.flatMap(({ deviceId, moduleId }) => {
          const credential = hub.getModule(deviceId, moduleId)?.credential;
          return credential?.type === 'sas' ? [credential.primaryKey, credential.secondaryKey] : [];
        }),
      );
      const twins = this.bed.hubs.flatMap((hub) =>
        hub.modules.map(({ deviceId, moduleId }) => JSON.stringify(hub.twin(deviceId, moduleId))),
      );
      const messages = this.bed.hubs.flatMap((hub) => hub.messages.map(({ body }) => body));
      const texts = [...this.#agents.map(({ output }) => output), ...this.#stateFiles(), ...twins, ...messages];
      for (const text of texts) {
        for (const secret of [this.key, this.groupKey, ...derived, ...keys, 'SharedAccessSignature', 'sig=']) {
          assert.ok(!text.includes(secret), `a secret is in an output, a state file, a twin or a message`);
        }
      }
      assert.ok(keys.length > 0 || derived.length === 0, 'no module exists whose keys could be found');
    } finally {
      await this.bed.close();
      rmSync(this.directory, { recursive: true, force: true });
    }
  }

  #stateFiles(): string[] {
    const folder = join(this.directory, 'state');
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((path) => statSync(path).isFile())
      .map((path) => readFileSync(path, 'latin1'));
  }
}

const messagesAt = async (hub: HubEmulator, more: number, limit: Duration = seconds(60)): Promise<void> => {
  const before = hub.messages.length;
  if (more > 0) await hub.waitForMessage(() => hub.messages.length >= before + more, limit);
};

describe('An agent that the provisioning service assigns to a hub', function () {
  this.timeout(minutes(3));
  let fleet: Fleet;
  let derived: string[];

  beforeEach(async () => {
    derived = [];
    fleet = await Fleet.open();
  });
  afterEach(() => fleet.close(...derived));

  const keptHub = (hub: HubEmulator) => {
    const file = join(fleet.directory, 'state/assignment.json');
    return until('the kept assignment', () => existsSync(file) && readFileSync(file, 'utf8').includes(hub.hostName));
  };

  it('registers at its first start, creates its module and sends, and restarts without the service', async () => {
    const [hub] = fleet.bed.hubs;
    const first = fleet.start();
    await messagesAt(hub, 2);
    assert.equal(fleet.bed.registrations, 1);
    const status = await first.status();
    assert.equal(status.hub.state, 'connected');
    await keptHub(hub);
    await first.end();

    await fleet.bed.service.offline();
    const asked = fleet.bed.proxy.requests.length;
    const second = fleet.start();
    await second.waitForLog(({ msg }) => msg === 'Connected to the hub.');
    await messagesAt(hub, 2);
    assert.equal(fleet.bed.registrations, 1);
    const targets = fleet.bed.proxy.requests.slice(asked).map(({ target }) => target);
    assert.deepEqual(
      targets.filter((target) => target.startsWith('global.')),
      [],
    );
  });

  it('connects with a key that is derived from its group key', async () => {
    const registrationId = 'sn-1';
    derived.push(deriveDeviceKey(fleet.groupKey, registrationId));
    fleet.start({ registrationId, groupKeyFile: 'group.key' });
    await messagesAt(fleet.bed.hubs[0], 2);
  });

  it('connects with a certificate', async () => {
    const leaf = await selfSigned({ commonName: 'by-certificate' });
    fleet.bed.service.enroll({ registrationId: 'by-certificate', thumbprint: leaf.thumbprint });
    fleet.write('leaf.pem', leaf.chainPem, 0o644);
    fleet.write('leaf.key', leaf.keyPem);
    fleet.start({ registrationId: 'by-certificate', certificateFile: 'leaf.pem', keyFile: 'leaf.key' });
    await messagesAt(fleet.bed.hubs[0], 2);
  });

  it('registers by MQTT if port 443 of the service is closed', async () => {
    fleet.bed.proxy.behave('refuse', 'global.azure-devices-provisioning.net:443');
    fleet.start();
    await messagesAt(fleet.bed.hubs[0], 1);
    const { transport } = await fleet.bed.service.waitForRequest(({ operation }) => operation === 'register');
    assert.equal(transport, 'mqtt');
  });

  it('follows its device to another hub while it runs, without losing an event', async () => {
    const [first, second] = fleet.bed.hubs;
    const agent = fleet.start();
    await messagesAt(first, 3);
    fleet.bed.service.reassign(ID, second);
    const began = systemClock.monotonic();
    await messagesAt(second, 1, minutes(1));
    process.stdout.write(`      the other hub received after ${Math.round(systemClock.monotonic() - began)} ms\n`);
    await messagesAt(second, 2);
    assert.equal(fleet.bed.registrations, 2);
    second.patchDesired(DEVICE, MODULE, { [OBJECT]: CALM });
    const status = await agent.waitForStatus(
      ({ delivery: { queued, delivered } }) =>
        queued.highEvents + queued.lowEvents === 0 && delivered === fleet.received,
      minutes(1),
    );
    assertClosed(status);
    assert.deepEqual(status.delivery.dropped, {});
    assert.equal(status.hub.state, 'connected');
    await keptHub(second);
  });

  it('waits for the service if its device has moved while the service is unreachable', async () => {
    const [first, second] = fleet.bed.hubs;
    const agent = fleet.start();
    await messagesAt(first, 2);
    await fleet.bed.service.offline();
    fleet.bed.service.reassign(ID, second);
    await agent.waitForLog(({ id }) => id === 'PROVISIONING_UNREACHABLE', minutes(1));
    await fleet.bed.service.online();
    await messagesAt(second, 2, minutes(2));
    assertClosed(await agent.status());
  });

  it('retries slowly and keeps collecting with a wrong key, and connects once the file is corrected', async () => {
    fleet.write('device.key', newKey());
    const agent = fleet.start();
    const complaint = await agent.waitForLog(({ id }) => id === 'PROVISIONING_REFUSED');
    assert.deepEqual([complaint.code, complaint.reason], ['Authentication', 'Unauthorized']);
    await agent.waitForStatus(({ hub, events }) => hub.state === 'refused' && events.SystemInformation !== undefined);
    assert.equal((await agent.status()).state, 'degraded');
    await fleet.bed.service.waitForRequest(() => fleet.bed.registrations === 3, minutes(1));
    fleet.write('device.key', fleet.key);
    agent.lookNow();
    await messagesAt(fleet.bed.hubs[0], 2, seconds(40));
    assert.equal(agent.log.filter(({ id }) => id === 'PROVISIONING_REFUSED').length, 1, 'logged more than once');
    assert.equal(fleet.bed.registrations, 4);
  });

  it('reports that its enrollment is disabled, and connects once it is enabled', async () => {
    fleet.bed.service.setStatus(ID, 'disabled');
    const agent = fleet.start();
    await agent.waitForLog(({ id }) => id === 'PROVISIONING_DISABLED');
    fleet.bed.service.setStatus(ID, 'enabled');
    await messagesAt(fleet.bed.hubs[0], 1);
  });

  it("reports why it can't be assigned, and connects once it can", async () => {
    fleet.bed.service.setFailure(ID, { errorCode: 400207, errorMessage: 'Custom allocation failed' });
    const agent = fleet.start();
    const { msg } = await agent.waitForLog(({ id }) => id === 'PROVISIONING_FAILED');
    assert.match(msg, /\(400207\): Custom allocation failed/);
    fleet.bed.service.setFailure(ID);
    await messagesAt(fleet.bed.hubs[0], 1);
  });
});
