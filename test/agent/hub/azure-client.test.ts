import '../../../src/agent/hub/memory.ts';
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { AzureHubClient, type AzureHubClientOptions } from '../../../src/agent/hub/azure-client.ts';
import { addressAt } from '../../../src/agent/identity/kind.ts';
import { SharedKeyIdentity } from '../../../src/agent/identity/shared-keys.ts';
import { type Clock, systemClock, TimeLimitError } from '../../../src/core/base/clock.ts';
import { days, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { HubSignal, HubStatus } from '../../../src/core/contract/hub.ts';
import { sizeOf } from '../../../src/core/contract/message.ts';
import type { MethodAnswer } from '../../../src/core/contract/method.ts';
import type { LookUp } from '../../../src/core/network/names.ts';
import { Network } from '../../../src/core/network/network.ts';
import { ProxyError } from '../../../src/core/network/tunnel.ts';
import { createServerCertificate } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { Sockets } from '../../core/network/bench.ts';
import { until } from '../../harness/until.ts';
import { capturedLog, fastClock, message, moduleAccess, newKey, serverParser, temporaryDirectory } from './support.ts';

/** The device SDK over real TLS against the local hub. What takes minutes in earnest runs on a fast clock. */
describe('AzureHubClient', () => {
  const deviceId = 'dev1';
  const moduleId = 'azureiotsecurity';
  const primaryKey = newKey();
  let hub: HubEmulator;
  let log: ReturnType<typeof capturedLog>;
  let directory: ReturnType<typeof temporaryDirectory>;
  let caFile: string;
  let clients: AzureHubClient[];
  let sockets: Sockets;
  let uncaught: unknown[];
  let listeners: NodeJS.UncaughtExceptionListener[];
  const catchAll = (error: unknown) => uncaught.push(error);

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [{ deviceId, moduleId, primaryKey }] });
    log = capturedLog();
    directory = temporaryDirectory();
    caFile = directory.write('ca.pem', hub.caPem);
    clients = [];
    sockets = new Sockets();
    uncaught = [];
    listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', catchAll);
  });
  afterEach(async () => {
    for (const client of clients) await client.stop();
    await hub.stop();
    sockets.close();
    directory.remove();
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
    assert.deepEqual(uncaught, [], 'something was thrown where nobody catches it');
    assert.ok(!log.text().includes(primaryKey), 'the log holds the key');
    assert.doesNotMatch(log.text(), /sig=|SharedAccessSignature|SharedAccessKey=/);
  });

  type Change = Partial<AzureHubClientOptions> & {
    gatewayHostName?: string;
    trustedCaFile?: string | undefined;
    lookUp?: LookUp;
  };
  const make = (change: Change = {}) => {
    const { gatewayHostName = `localhost:${hub.port}`, clock = systemClock, lookUp, ...options } = change;
    const trustedCaFile = 'trustedCaFile' in change ? change.trustedCaFile : caFile;
    const module = { hostName: hub.hostName, deviceId, moduleId, key: primaryKey, gatewayHostName };
    const client = new AzureHubClient({
      ...moduleAccess({ ...module, ...(trustedCaFile === undefined ? {} : { trustedCaFile }), clock, lookUp }),
      productInfo: 'vakt/0.1.0',
      clock,
      log: log.log,
      ...options,
    });
    clients.push(client);
    return client;
  };
  /** Resolves at the next status that fits, or at once. */
  const statusWhen = (client: AzureHubClient, fits: (status: HubStatus) => boolean, limit = seconds(20)) =>
    systemClock.within(
      limit,
      'the hub client',
      new Promise<HubStatus>((resolve) => {
        const look = () => fits(client.status()) && resolve(client.status());
        client.on('status', look);
        look();
      }),
    );
  const connected = (client: AzureHubClient) => statusWhen(client, ({ state }) => state === 'connected');
  const start = async (change: Change = {}) => {
    const client = make(change);
    await client.start();
    await connected(client);
    return client;
  };
  const once = (client: AzureHubClient, event: HubSignal) =>
    systemClock.within(seconds(20), event, new Promise<void>((resolve) => client.on(event, resolve)));
  const idOf = (answer: { status: string; error?: AgentError }) => answer.error?.id;
  /** Minutes pass in moments. */
  const fast = (times = 20, limits = 1): { clock: Clock; random: () => number } => ({
    clock: fastClock(times, limits),
    random: () => 0,
  });
  /** Time limits of half a minute pass in three seconds, in which a busy machine can still answer. */
  const impatient = () => fast(20, 10);

  describe('connected', () => {
    it('starts at once, and connects and subscribes in the background', async () => {
      const client = make();
      await client.start();
      assert.equal(client.status().state, 'connecting');
      await once(client, 'connected');
      assert.equal(client.status().state, 'connected');
      await hub.waitForSubscription(deviceId, moduleId);
      const [connection] = hub.connections;
      assert.equal(connection?.userAgent, 'vakt/0.1.0');
      const { expiresAt } = connection ?? {};
      assert.deepEqual(client.status().credential, {
        kind: 'moduleKey',
        expiresAt,
        expiresSoon: false,
        hub: hub.hostName,
        transport: 'mqtt',
        source: 'primary',
      });
      assert.deepEqual(
        log.messages().map(({ level, msg }) => [level, msg]),
        [['info', 'Connected to the hub.']],
      );
    });

    it("shows when the device's certificate expires, if that is soon", async () => {
      const expiry = new Date(systemClock.now().getTime() + days(29));
      const deviceCertificate = { expiresAt: expiry, dueAt: systemClock.now() };
      const { identity } = moduleAccess({
        hostName: hub.hostName,
        deviceId,
        moduleId,
        key: primaryKey,
        gatewayHostName: `localhost:${hub.port}`,
      });
      const present = identity.present.bind(identity);
      identity.present = async (options) => ({ ...(await present(options)), deviceCertificate });
      const { expiresAt, expiresSoon } = (await start({ identity })).status().credential;
      assert.deepEqual([expiresAt, expiresSoon], [expiry, true]);
    });

    it('answers direct methods, on this connection and on the next', async () => {
      const call = async (name: string, payload: Buffer): Promise<MethodAnswer> => ({
        status: name === 'ping' ? 200 : 404,
        body: { name, payload: payload.toString() },
      });
      const client = await start({ methods: { call } });
      const ping = { status: 200, payload: { name: 'ping', payload: '{"a":"ü"}' } };
      assert.deepEqual(await hub.invokeMethod(deviceId, moduleId, 'ping', { a: 'ü' }), ping);
      assert.deepEqual(await hub.invokeMethod(deviceId, moduleId, '__proto__'), {
        status: 404,
        payload: { name: '__proto__', payload: '' },
      });
      await hub.offline();
      await statusWhen(client, ({ state }) => state !== 'connected');
      await hub.online();
      await connected(client);
      assert.deepEqual(await hub.invokeMethod(deviceId, moduleId, 'ping', { a: 'ü' }), ping);
    });

    it('loses the answer to a direct method when the connection goes meanwhile, and nothing else', async () => {
      let answer: (answer: MethodAnswer) => void = () => {};
      let begun = () => {};
      const hasBegun = new Promise<void>((resolve) => (begun = resolve));
      const call = () => {
        begun();
        return new Promise<MethodAnswer>((resolve) => (answer = resolve));
      };
      const client = await start({ methods: { call } });
      const called = assert.rejects(hub.invokeMethod(deviceId, moduleId, 'slow'), /The module disconnected/);
      await hasBegun;
      await hub.offline();
      await called;
      answer({ status: 200, body: {} });
      await hub.online();
      await connected(client);
    });

    it('sends a message as the contract describes it', async () => {
      const client = await start();
      const sent = message({ body: '{"Events":["Grüße €"]}', hubResourceId: '/a&b=c/d' });
      assert.deepEqual(await client.send(sent), { status: 'accepted', value: undefined });
      const [got] = hub.messages;
      assert.equal(got?.body, sent.body);
      assert.deepEqual(
        { ...got?.systemProperties },
        {
          messageId: sent.id,
          contentType: 'application/json',
          contentEncoding: 'utf-8',
          interfaceId: 'urn:azureiot:Security:SecurityAgent:1',
        },
      );
      assert.deepEqual({ ...got?.applicationProperties }, { MessagePriority: 'High', HubResourceId: '/a&b=c/d' });
      assert.equal(got?.sizeBytes, sizeOf(sent));
    });

    it('leaves the security mark off what is sent as telemetry', async () => {
      const client = await start();
      await client.send(message({ marking: 'telemetry', priority: 'Low' }));
      const [got] = hub.messages;
      assert.equal(got?.systemProperties.interfaceId, undefined);
      assert.deepEqual({ ...got?.applicationProperties }, { MessagePriority: 'Low', messageType: 'SecurityEvents' });
    });

    it('takes a message of nearly 256 KB, and refuses one above it', async () => {
      const client = await start();
      const room = 256 * 1024 - sizeOf(message({ body: '' }));
      assert.equal((await client.send(message({ body: 'x'.repeat(room) }))).status, 'accepted');
      const answer = await client.send(message({ body: 'x'.repeat(room + 1) }));
      assert.equal(answer.status, 'refused');
      // The SDK counts UTF-16 units.
      assert.equal((await client.send(message({ body: '€'.repeat(100_000) }))).status, 'refused');
      assert.equal(hub.messages.length, 1);
    });

    it('reads the whole twin every time, even after merges', async () => {
      const client = await start();
      hub.patchDesired(deviceId, moduleId, { a: { x: 1, y: { z: true } }, b: 'gone' });
      assert.ok((await client.readTwin()).status === 'accepted');
      hub.replaceDesired(deviceId, moduleId, { a: { x: 2 } });
      const answer = await client.readTwin();
      assert.ok(answer.status === 'accepted');
      assert.deepEqual(answer.value, hub.twin(deviceId, moduleId));
      assert.deepEqual({ ...answer.value.desired, $version: 0 }, { a: { x: 2 }, $version: 0 });
    });

    it('is not confused by reported properties that the SDK keeps functions under', async () => {
      const client = await start();
      await client.report({ update: { on: true }, hasOwnProperty: 1, constructor: { name: 'x' } });
      const answer = await client.readTwin();
      assert.ok(answer.status === 'accepted');
      assert.deepEqual(answer.value.reported, hub.twin(deviceId, moduleId).reported);
      assert.equal((await client.report({ update: null })).status, 'accepted');
    });

    it('reports a patch unchanged, nulls included, and returns the new version', async () => {
      const client = await start();
      await client.report({ a: { x: 1, y: 2 }, b: 1 });
      const answer = await client.report({ a: { x: null }, b: null });
      const { reported } = hub.twin(deviceId, moduleId);
      assert.deepEqual(answer, { status: 'accepted', value: reported.$version });
      assert.deepEqual({ ...reported, $version: 0 }, { a: { y: 2 }, $version: 0 });
    });

    it('does many twin operations asked at once, one after the other', async () => {
      const client = await start();
      const answers = await Promise.all([
        client.report({ n: 1 }),
        client.readTwin(),
        client.report({ n: 2 }),
        client.readTwin(),
      ]);
      const seen = answers.map((answer) => {
        assert.ok(answer.status === 'accepted');
        return typeof answer.value === 'object' ? answer.value.reported.n : answer.value;
      });
      assert.deepEqual([seen[1], seen[3]], [1, 2]);
    });

    it('signals a change of desired properties, and passes none on', async () => {
      const client = await start();
      const desired = once(client, 'desired');
      hub.patchDesired(deviceId, moduleId, { a: 1 });
      await desired;
      assert.equal(hub.twinOperations.length, 0); // the listener decides about reading
    });

    it('survives a listener that throws', async () => {
      const client = await start();
      client.on('desired', () => {
        throw new Error('a listener of the test');
      });
      const desired = once(client, 'desired');
      hub.patchDesired(deviceId, moduleId, { a: 1 });
      await desired;
      assert.equal((await client.send(message())).status, 'accepted');
    });
  });

  describe('when the twin fails', () => {
    it('recognizes an empty 429 as an error', async () => {
      const client = await start();
      hub.faults.inject({ kind: 'twinStatus', status: 429, emptyBody: true, count: 2 });
      for (const answer of [await client.report({ a: 1 }), await client.readTwin()]) {
        assert.ok(answer.status === 'retry');
        assert.equal(answer.retryCause, 'throttled');
        assert.equal(answer.error.id, 'HUB_THROTTLED');
      }
      assert.equal((await client.report({ a: 1 })).status, 'accepted');
    });

    for (const [status, expected, id] of [
      [500, 'retry', 'HUB_UNREACHABLE'],
      [404, 'retry', 'MODULE_UNKNOWN'],
      [400, 'refused', 'INTERNAL'],
    ] as const) {
      it(`answers ${expected} to ${status}`, async () => {
        const client = await start();
        hub.faults.inject({ kind: 'twinStatus', status, count: 1 });
        const answer = await client.report({ a: 1 });
        assert.equal(answer.status, expected);
        assert.equal(idOf(answer), id);
        assert.equal(client.status().state, 'connected');
      });
    }

    it('treats garbage as an error, and keeps the connection', async () => {
      const client = await start();
      hub.faults.inject({ kind: 'twinGarbage', count: 2 });
      assert.equal(idOf(await client.readTwin()), 'TWIN_UNREADABLE');
      assert.equal(idOf(await client.report({ a: 1 })), 'TWIN_UNREADABLE');
      assert.equal((await client.readTwin()).status, 'accepted');
    });

    it('drops a silent connection, and reconnects', async () => {
      const client = await start(impatient());
      hub.faults.inject({ kind: 'twinSilence', count: 1 });
      const reconnected = once(client, 'connected');
      const [first, second] = await Promise.all([client.readTwin(), client.report({ a: 1 })]);
      assert.ok(first.status === 'retry');
      assert.equal(first.error.id, 'HUB_SILENT');
      assert.equal(second.status, 'retry');
      await reconnected;
      assert.equal((await client.readTwin()).status, 'accepted');
    });
  });

  describe('when messages fail', () => {
    it('gives up on an acknowledgement that never arrives, reconnects, and repeats with the same id', async () => {
      const client = await start(impatient());
      hub.faults.inject({ kind: 'dropAcknowledgements', count: 1 });
      const sent = message();
      const reconnected = once(client, 'connected');
      const answer = await client.send(sent);
      assert.ok(answer.status === 'retry');
      assert.equal(answer.error.id, 'HUB_SILENT');
      await reconnected;
      assert.equal((await client.send(sent)).status, 'accepted');
      assert.deepEqual(
        hub.messages.map(({ systemProperties, duplicate }) => [systemProperties.messageId, duplicate]),
        [
          [sent.id, false],
          [sent.id, true],
        ],
      );
    });

    it('reports whether a message was in flight', async () => {
      const client = make(fast());
      const before = await client.send(message());
      assert.ok(before.status === 'retry' && before.unanswered === undefined);
      await client.start();
      await connected(client);
      hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
      const during = await client.send(message());
      assert.ok(during.status === 'retry' && during.unanswered === true);
    });

    it('reports a lost connection if the quota is used up and no answer has reported it', async () => {
      const client = await start(fast());
      hub.faults.inject({ kind: 'quotaExceeded' });
      const reconnected = once(client, 'connected');
      const answer = await client.send(message());
      assert.ok(answer.status === 'retry' && answer.retryCause === 'network' && answer.unanswered === true);
      await reconnected;
      const twin = await client.readTwin();
      assert.ok(twin.status === 'retry' && twin.retryCause === 'network');
      assert.equal(hub.messages.length, 0);
    });

    for (const [what, ask] of [
      ['a message', (client: AzureHubClient) => client.send(message())],
      ['a twin request', (client: AzureHubClient) => client.readTwin()],
    ] as const) {
      it(`reports the used-up quota after a twin answer, until ${what} is accepted`, async () => {
        const client = await start(fast());
        hub.faults.inject({ kind: 'quotaExceeded', twinSays: true });
        const twin = await client.readTwin();
        assert.ok(twin.status === 'retry' && twin.retryCause === 'quota');
        assert.equal(idOf(twin), 'HUB_QUOTA_EXCEEDED');
        const reconnected = once(client, 'connected');
        const answer = await client.send(message());
        assert.ok(answer.status === 'retry' && answer.retryCause === 'quota' && answer.unanswered === undefined);
        await reconnected;
        hub.faults.clear();
        const renewed = once(client, 'quotaRenewed');
        assert.equal((await ask(client)).status, 'accepted');
        await renewed;
        hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
        const later = await client.send(message());
        assert.ok(later.status === 'retry' && later.retryCause === 'network');
      });
    }

    it('does not apply a used-up quota to another hub', async () => {
      const key = { source: 'primary', key: primaryKey };
      const other = await HubEmulator.start({
        modules: [{ deviceId, moduleId, primaryKey }],
        hostName: 'other.example',
      });
      let at = hub;
      const read = () => ({
        module: addressAt(at.hostName, { deviceId, moduleId }, `localhost:${at.port}`),
        keys: [key] as const,
      });
      const identity = new SharedKeyIdentity({ kind: 'moduleKey', files: [], read, clock: systemClock });
      const client = await start({
        ...fast(),
        identity,
        trustedCaFile: directory.write('both.pem', hub.caPem + other.caPem),
      });
      try {
        hub.faults.inject({ kind: 'quotaExceeded', twinSays: true });
        const twin = await client.readTwin();
        assert.ok(twin.status === 'retry' && twin.retryCause === 'quota');
        at = other;
        await hub.offline();
        await statusWhen(client, ({ state, credential }) => state === 'connected' && credential.hub === other.hostName);
        other.faults.inject({ kind: 'resetOnPublish', count: 1 });
        const answer = await client.send(message());
        assert.ok(answer.status === 'retry' && answer.retryCause === 'network');
      } finally {
        await client.stop();
        await other.stop();
      }
    });

    it('answers every message when the connection is reset under it', async () => {
      const client = await start(fast());
      hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
      const reconnected = once(client, 'connected');
      const answers = await Promise.all([client.send(message()), client.send(message()), client.readTwin()]);
      for (const answer of answers) assert.equal(answer.status, 'retry');
      await reconnected;
      assert.equal((await client.send(message())).status, 'accepted');
    });

    it('answers at once while disconnected', async () => {
      const client = make();
      for (const answer of [await client.send(message()), await client.readTwin(), await client.report({})]) {
        assert.ok(answer.status === 'retry');
        assert.equal(answer.retryCause, 'network');
      }
    });
  });

  describe('when the connection fails', () => {
    it('comes back after the hub was away, and signals that something may have been missed', async () => {
      const client = await start(fast());
      await hub.offline();
      await statusWhen(client, ({ state }) => state !== 'connected');
      hub.patchDesired(deviceId, moduleId, { missed: true });
      const reconnected = once(client, 'connected');
      await statusWhen(client, ({ error }) => error !== undefined);
      await hub.online();
      await reconnected;
      const answer = await client.readTwin();
      assert.ok(answer.status === 'accepted');
      assert.equal(answer.value.desired.missed, true);
      const lines = log.messages().map(({ msg, id }) => id ?? msg);
      assert.deepEqual(lines, ['Connected to the hub.', 'HUB_UNREACHABLE', 'Connected to the hub.']);
    });

    it('reaches a hub of whose addresses most are dead, at its first attempt', async () => {
      await sockets.silent({ host: '127.0.0.3', port: hub.port });
      const lookUp = async () => ['127.0.0.9', '::1', '127.0.0.3', '127.0.0.1'];
      await start({ ...fast(), lookUp });
      assert.deepEqual(
        log.messages().map(({ msg }) => msg),
        ['Connected to the hub.'],
      );
    });

    it('replaces a connection on which nothing comes any more', async () => {
      const client = await start(fast(200)); // the pings of MQTT.js are every 45 s, and count for 0.2
      await once(client, 'connected');
      assert.equal(log.messages()[1]?.id, 'HUB_SILENT');
    });

    it('reports a second agent with the same identity as a lost connection, and does not compete with it endlessly', async () => {
      const first = await start(fast());
      const lost = statusWhen(first, ({ state }) => state !== 'connected');
      const second = await start();
      const { error } = await lost;
      assert.match(error?.remedy ?? '', /second agent connects as dev1\/azureiotsecurity/);
      await second.stop();
      await connected(first);
    });

    it('continues after a reset in place of an answer', async () => {
      hub.faults.inject({ kind: 'resetOnConnect', count: 1 });
      await start(fast());
      assert.equal(log.messages()[0]?.id, 'HUB_UNREACHABLE');
    });

    it('reports refused credentials, with long waits, until they are accepted', async () => {
      hub.addModule({ deviceId, moduleId, primaryKey: newKey() });
      const client = make(fast(1_000));
      await client.start();
      const { error } = await statusWhen(client, ({ state }) => state === 'refused');
      assert.equal(error?.id, 'CREDENTIAL_REFUSED');
      assert.match(error?.remedy ?? '', /module exists.*key.*clock is right \(now \d{4}-/);
      const answer = await client.send(message());
      assert.ok(answer.status === 'retry');
      assert.equal(answer.retryCause, 'credentials');
      await hub.waitForConnection(() => hub.connections.length === 4);
      assert.equal(log.messages().filter(({ id }) => id === 'CREDENTIAL_REFUSED').length, 1);
      hub.addModule({ deviceId, moduleId, primaryKey });
      await connected(client);
      assert.ok(hub.connections.length <= 6);
    });

    it('signals a new status for the first refusal of a credential, and none for the same refusal again', async () => {
      hub.addModule({ deviceId, moduleId, primaryKey: newKey() });
      const client = make(fast(1_000));
      const seen: string[] = [];
      client.on('status', () => {
        const { state, credential } = client.status();
        seen.push(`${state} ${credential?.error?.id}`);
      });
      await client.start();
      await hub.waitForConnection(() => hub.connections.length === 4);
      assert.deepEqual(seen, ['connecting CREDENTIAL_REFUSED', 'refused CREDENTIAL_REFUSED']);
    });

    it('refuses a hub whose certificate it has no reason to trust', async () => {
      const untrusting = make({ trustedCaFile: undefined });
      await untrusting.start();
      const { error, state } = await statusWhen(untrusting, (status) => status.error !== undefined);
      assert.equal(state, 'connecting');
      assert.equal(error?.id, 'TLS_FAILED');
      assert.match(error?.remedy ?? '', /hub\.trustedCaFile/);
      assert.equal(hub.connections.length, 0);
    });

    it('refuses to start with a file of authorities that holds none', () => {
      for (const file of [directory.write('empty.pem', 'nothing'), '/no/such/file']) {
        assert.throws(
          () => make({ trustedCaFile: file }),
          (error: unknown) => error instanceof AgentError && error.id === 'CA_FILE_UNUSABLE',
        );
      }
    });

    describe('through a proxy that does not let port 8883 pass', () => {
      /** Ports of the attempts, oldest first. */
      let ports: string[];
      const proxy = { host: 'proxy', port: 3128 };
      beforeEach(() => {
        ports = [];
      });

      /** A network where 443 fails with `byWebSocket`. */
      const closed = (byWebSocket: () => Error): Network => {
        const network = new Network({ environment: {}, clock: systemClock });
        network.connect = async () => {
          ports.push('8883');
          throw new ProxyError(proxy, 'refused', { status: 403 });
        };
        network.webSocket = async () => {
          ports.push('443');
          throw byWebSocket();
        };
        return network;
      };

      it('tries port 443 again within minutes while its other side is away', async () => {
        const clock = fastClock(1_000);
        const client = make({
          transport: 'auto',
          clock,
          random: () => 0,
          network: closed(() => new ProxyError(proxy, 'bad gateway', { status: 502 })),
        });
        const begin = clock.monotonic();
        await client.start();
        const isEarly = () => clock.monotonic() - begin < minutes(8);
        const attemptsBy443 = () => ports.filter((port) => port === '443').length;
        await until('three attempts by port 443', () => attemptsBy443() >= 3);
        assert.ok(isEarly(), ports.join());
        assert.equal(client.status().state, 'connecting');
      });

      it('does not ask the identity for another key when the other port is tried at once', async () => {
        const asked: number[] = [];
        const { identity } = moduleAccess({ hostName: hub.hostName, deviceId, moduleId, key: primaryKey });
        identity.failed = () => {
          asked.push(ports.length);
          return false;
        };
        const network = closed(() => new ProxyError(proxy, 'bad gateway', { status: 502 }));
        const client = make({ transport: 'auto', ...fast(), network, identity });
        await client.start();
        await until('three attempts', () => asked.length >= 3);
        assert.deepEqual([asked.slice(0, 3), ports[3]], [[1, 2, 4], '443']);
      });

      it('shows the credentials as refused when the proxy refuses port 443 as well', async () => {
        const network = closed(() => new ProxyError(proxy, 'refused', { status: 403 }));
        const client = make({ transport: 'auto', ...fast(), network });
        await client.start();
        await statusWhen(client, ({ state }) => state === 'refused');
        assert.deepEqual(ports, ['8883', '8883', '8883', '443']);
      });
    });

    describe('by a server that is not what it should be', () => {
      let server: Server;
      const sockets = new Set<Socket>();
      const listen = async (greet: (socket: Socket) => void) => {
        server = createServer((socket) => {
          sockets.add(socket);
          socket.on('error', () => {});
          greet(socket);
        });
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        return `localhost:${(server.address() as AddressInfo).port}`;
      };
      afterEach(() => {
        for (const socket of sockets) socket.destroy();
        server.close();
      });

      it('gives up on one that accepts and sends nothing', async () => {
        const client = make({ ...impatient(), gatewayHostName: await listen(() => {}) });
        await client.start();
        const { error } = await statusWhen(client, (status) => status.error !== undefined);
        assert.equal(error?.id, 'HUB_SILENT');
      });

      it('stops at once while it is still connecting', async () => {
        // Without time limits a stop that waits for the hub never ends.
        const clock: Clock = { ...systemClock, within: (_limit, _what, work) => work };
        const client = make({ clock, gatewayHostName: await listen(() => {}) });
        await client.start();
        await client.stop();
        assert.equal(client.status().state, 'stopped');
      });
    });
  });

  describe('with a hub that sends unexpected packets', () => {
    /** What the server answers to a packet; the rest is as polite as can be. */
    type Script = (packet: Packet, say: (packet: Packet) => void, socket: TLSSocket) => boolean;
    let server: TlsServer | undefined;
    afterEach(() => server?.close());

    const scripted = async (script: Script) => {
      const { caPem, certificatePem, keyPem } = await createServerCertificate(['localhost'], new Date());
      server = createTlsServer({ cert: certificatePem, key: keyPem }, (socket) => {
        const say = (packet: Packet) => socket.write(mqttPacket.generate(packet));
        const parser = serverParser();
        socket.on('error', () => {});
        socket.on('data', (data) => parser.parse(data));
        parser.on('packet', (packet) => {
          if (script(packet, say, socket)) return;
          if (packet.cmd === 'connect') say({ cmd: 'connack', returnCode: 0, sessionPresent: false });
          if (packet.cmd === 'subscribe') say({ cmd: 'suback', messageId: packet.messageId, granted: [0] } as Packet);
          if (packet.cmd === 'publish' && packet.qos === 1)
            say({ cmd: 'puback', messageId: packet.messageId } as Packet);
        });
      });
      const listening = server;
      await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
      const gatewayHostName = `localhost:${(listening.address() as AddressInfo).port}`;
      return { gatewayHostName, trustedCaFile: directory.write('scripted.pem', caPem) };
    };
    const publish = (topic: string, payload: string | Buffer): Packet =>
      ({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }) as Packet;

    it('is not connected when it may not subscribe', async () => {
      const odd = await scripted((packet, say) => {
        if (packet.cmd !== 'subscribe') return false;
        say({ cmd: 'suback', messageId: packet.messageId, granted: [128] } as Packet);
        return true;
      });
      const client = make(odd);
      let connections = 0;
      client.on('connected', () => connections++);
      await client.start();
      const { error } = await statusWhen(client, (status) => status.error !== undefined);
      assert.match(error?.message ?? '', /refused the subscription/);
      assert.equal(connections, 0);
    });

    it('gives the SDK nothing it would choke on', async () => {
      const client = await start(
        await scripted((packet, say) => {
          if (packet.cmd !== 'publish' || packet.qos !== 1) return false;
          for (const [topic, payload] of [
            ['$iothub/twin/PATCH/properties/desired/?$version=2', 'garbage'],
            ['$iothub/twin/PATCH/properties/desired/?$version=3', ''],
            ['$iothub/twin/res/200/?$rid=__proto__', '{}'],
            ['$iothub/twin/res/200/?$rid=constructor', '{}'],
            ['$iothub/methods/POST/?$rid=1', '{}'],
            ['devices/dev1/messages/devicebound/%24.to=%E0%A4%A', 'x'],
            ['devices/dev1/modules/azureiotsecurity/inputs/in/%E0%A4%A', 'x'],
          ] as const) {
            say(publish(topic, payload));
          }
          return false;
        }),
      );
      let signals = 0;
      client.on('desired', () => signals++);
      assert.equal((await client.send(message())).status, 'accepted');
      assert.equal(signals, 2);
    });

    for (const [what, body] of [
      ['a twin without sections', '{"a":1}'],
      ['a twin whose sections are lists', '{"desired":[],"reported":[]}'],
      ['nothing', ''],
      ['half a twin', '{"desired":{"$version":1'],
    ] as const) {
      it(`takes ${what} for no twin`, async () => {
        const client = await start(
          await scripted((packet, say) => {
            if (packet.cmd !== 'publish' || !packet.topic.startsWith('$iothub/twin/GET/')) return false;
            say(publish(packet.topic.replace('GET', 'res/200'), body));
            return true;
          }),
        );
        const answer = await client.readTwin();
        assert.equal(answer.status, 'retry');
        assert.equal(idOf(answer), 'TWIN_UNREADABLE');
        assert.equal(client.status().state, 'connected');
      });
    }

    it('drops a connection that carries no MQTT', async () => {
      const client = await start({
        ...fast(),
        ...(await scripted((packet, _say, socket) => {
          if (packet.cmd !== 'publish') return false;
          socket.write(Buffer.from([0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff]));
          return true;
        })),
      });
      const answer = await client.send(message());
      assert.equal(answer.status, 'retry');
      assert.equal(idOf(answer), 'HUB_MISBEHAVES');
      await connected(client);
    });
  });

  describe('before its token runs out', () => {
    it('replaces the connection, loses no message, and takes direct methods as before', async () => {
      const methods = { call: async (): Promise<MethodAnswer> => ({ status: 200, body: {} }) };
      const client = await start({ ...fast(1_000), methods }); // 45 minutes are 2.7 s
      let repeats = 0;
      client.on('connected', () => repeats++);
      const ids: string[] = [];
      while (repeats < 1) {
        const sent = message();
        ids.push(sent.id);
        const answer = await client.send(sent);
        assert.equal(answer.status, 'accepted', idOf(answer));
        await systemClock.sleep(seconds(0.02));
      }
      assert.deepEqual(
        hub.messages.map(({ systemProperties }) => systemProperties.messageId),
        ids,
      );
      assert.deepEqual(await hub.invokeMethod(deviceId, moduleId, 'ping'), { status: 200, payload: {} });
      assert.equal(hub.connections[0]?.closedBecause, 'a newer connection of the same module');
      const [first, second] = hub.connections;
      assert.ok(second?.expiresAt && first?.expiresAt && second.expiresAt > first.expiresAt);
      assert.deepEqual(client.status().credential.expiresAt, second.expiresAt);
      assert.equal(log.messages().length, 1);
    });
  });

  it('replaces the connection before its token runs out though there is always a direct method running', async () => {
    const call = async (): Promise<MethodAnswer> => {
      await systemClock.sleep(seconds(0.5));
      return { status: 200, body: {} };
    };
    const client = await start({ ...fast(1_000), methods: { call } });
    const calling = setInterval(() => void hub.invokeMethod(deviceId, moduleId, 'slow').catch(() => {}), 30);
    try {
      assert.equal((await client.send(message())).status, 'accepted');
      await once(client, 'connected');
      assert.equal((await client.send(message())).status, 'accepted');
      assert.equal(hub.connections[0]?.closedBecause, 'a newer connection of the same module');
    } finally {
      clearInterval(calling);
    }
  });

  for (const gatewayHostName of ['gw:0', 'gw:99999', 'my gw', '']) {
    it(`shows that an identity led to ${JSON.stringify(gatewayHostName)}, which is no host`, async () => {
      const client = make({ gatewayHostName });
      await client.start();
      const { credential, error } = await statusWhen(client, (status) => status.error !== undefined);
      assert.equal(error?.id, 'CONFIG_INVALID');
      assert.ok(error.message.includes(JSON.stringify(gatewayHostName)), error.message);
      assert.match(error.remedy, /hub\.gatewayHostName/);
      assert.equal(credential.error?.id, 'CONFIG_INVALID');
    });
  }

  describe('stopping', () => {
    it('disconnects from the hub, and answers waiting callers', async () => {
      const exceeded: string[] = [];
      const clock: Clock = {
        ...systemClock,
        within: (limit, what, work) =>
          systemClock.within(limit, what, work).catch((error) => {
            if (error instanceof TimeLimitError) exceeded.push(what);
            throw error;
          }),
      };
      const client = await start({ clock });
      hub.faults.inject({ kind: 'ignoreMessages' });
      const pending = client.send(message());
      await client.stop();
      assert.deepEqual(exceeded, []); // the SDK alone would wait for the acknowledgement
      assert.equal((await pending).status, 'retry');
      assert.equal((await client.send(message())).status, 'retry');
      assert.equal(client.status().state, 'stopped');
      await client.stop();
    });

    it('ends even when the network drops all packets', async () => {
      let swallow = false;
      const sockets = new Set<Socket>();
      const network = createServer((near) => {
        const far = connect(hub.port, 'localhost');
        for (const [from, to] of [
          [near, far],
          [far, near],
        ] as const) {
          sockets.add(from);
          from.on('error', () => {});
          from.on('data', (data) => swallow || to.write(data));
        }
      });
      await new Promise<void>((resolve) => network.listen(0, '127.0.0.1', resolve));
      const clock: Clock = {
        ...systemClock,
        within: (limit, what, work) => (what === 'closing' ? systemClock.within(limit, what, work) : work),
      };
      const gatewayHostName = `localhost:${(network.address() as AddressInfo).port}`;
      const client = await start({ clock, gatewayHostName });
      swallow = true;
      const pending = [client.readTwin()]; // nothing that awaits an acknowledgement: the SDK says goodbye, and waits
      await client.stop(); // would never end if it waited for more than the goodbye, which alone has a limit here
      for (const answer of await Promise.all(pending)) assert.equal(answer.status, 'retry');
      for (const socket of sockets) socket.destroy();
      network.close();
    });

    it('may come before the start', async () => {
      const client = make();
      await client.stop();
      await client.start();
      assert.equal(client.status().state, 'stopped');
      assert.equal(hub.connections.length, 0);
    });
  });

  it('leaves no listener, timer or socket after fifty lost connections', async () => {
    const client = await start(fast(1_000));
    const resources = () => {
      const all = process.getActiveResourcesInfo();
      return {
        timers: all.filter((kind) => kind === 'Timeout').length,
        sockets: all.filter((kind) => /TCP|TLS/.test(kind)).length,
      };
    };
    const lose = async () => {
      const reconnected = once(client, 'connected');
      hub.faults.inject({ kind: 'resetOnPublish', count: 1 });
      assert.equal((await client.send(message())).status, 'retry');
      await reconnected;
    };
    await lose();
    const before = resources();
    for (let turn = 0; turn < 50; turn++) await lose();
    const after = resources();
    assert.ok(after.timers <= before.timers + 2, `timers: ${before.timers} → ${after.timers}`);
    assert.ok(after.sockets <= before.sockets + 2, `sockets: ${before.sockets} → ${after.sockets}`);
    assert.equal((await client.send(message())).status, 'accepted');
  });
});
