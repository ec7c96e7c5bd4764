import '../../../src/agent/hub/memory.ts';
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { AzureHubClient } from '../../../src/agent/hub/azure-client.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import type { AgentError } from '../../../src/core/base/errors.ts';
import type { MethodAnswer, MethodCalls } from '../../../src/core/contract/method.ts';
import { createServerCertificate } from '../../../src/emulator/certificates.ts';
import { until } from '../../harness/until.ts';
import { capturedLog, fastClock, moduleAccess, newKey, serverParser, temporaryDirectory } from './support.ts';

const MIB = 1024 * 1024;

/** The device SDK over real TLS, against a server that answers like a hub, with a trusted certificate. */
describe('AzureHubClient with a hostile hub or gateway', () => {
  let server: Server;
  let sockets: Set<TLSSocket>;
  let directory: ReturnType<typeof temporaryDirectory>;
  let log: ReturnType<typeof capturedLog>;
  let client: AzureHubClient | undefined;
  let caFile: string;
  /** What it does once the module has connected and subscribed. */
  let attack: (socket: TLSSocket) => void;
  let connections: number;
  let answersConnect: boolean;

  beforeEach(async () => {
    directory = temporaryDirectory();
    log = capturedLog();
    sockets = new Set();
    connections = 0;
    answersConnect = true;
    const { caPem, certificatePem, keyPem } = await createServerCertificate(['localhost'], new Date());
    caFile = directory.write('ca.pem', caPem);
    server = createServer({ cert: certificatePem, key: keyPem }, (socket) => {
      const say = (packet: object) => socket.write(mqttPacket.generate(packet as Packet));
      const parser = serverParser();
      let subscriptions = 0;
      connections += 1;
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      socket.on('data', (data) => parser.parse(data));
      parser.on('packet', (packet: Packet) => {
        if (packet.cmd === 'connect' && answersConnect) say({ cmd: 'connack', returnCode: 0, sessionPresent: false });
        if (packet.cmd === 'subscribe') {
          say({ cmd: 'suback', messageId: packet.messageId, granted: [0] });
          subscriptions += 1;
          if (subscriptions === 2) setImmediate(() => attack(socket));
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    await client?.stop();
    for (const socket of sockets) socket.destroy();
    server.close();
    directory.remove();
  });

  const start = async (call: MethodCalls['call'] = async () => undefined, clock: Clock = systemClock) => {
    client = new AzureHubClient({
      ...moduleAccess({
        hostName: 'emulator.azure-devices.net',
        deviceId: 'dev1',
        moduleId: 'azureiotsecurity',
        key: newKey(),
        gatewayHostName: `localhost:${(server.address() as AddressInfo).port}`,
        trustedCaFile: caFile,
        clock,
      }),
      productInfo: 'vakt/0.1.0',
      methods: { call },
      clock,
      log: log.log,
      random: () => 0,
    });
    await client.start();
    return client;
  };
  /** The client's error once there is one, or one that fits. */
  const failure = async (fits = (_: AgentError) => true) => {
    let error: AgentError | undefined;
    await until('an error', () => {
      error = client?.status().error;
      return error !== undefined && fits(error);
    });
    return error;
  };
  const misbehaviour = () => failure(({ id }) => id === 'HUB_MISBEHAVES');
  const publish = (topic: string, payload = '') =>
    mqttPacket.generate({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false } as Packet);
  /** Writes as fast as the other end reads, until it closes. */
  const pour = (socket: TLSSocket, block: Buffer, most = Number.POSITIVE_INFINITY) => {
    let written = 0;
    const more = () => {
      while (!socket.destroyed && written < most) {
        written += block.length;
        if (!socket.write(block)) return void socket.once('drain', more);
      }
    };
    more();
  };

  it('gives up after 20 s without an answer to CONNECT, and retries', async () => {
    answersConnect = false;
    const limits: Duration[] = [];
    const clock = fastClock(20);
    const within: Clock['within'] = (given, what, work) => {
      if (what !== 'connecting') return systemClock.within(given, what, work);
      limits.push(given);
      // The first one is for the way to the hub, up to TLS.
      return systemClock.within(limits.length % 2 === 1 ? given : milliseconds(given / 50), what, work);
    };
    await start(undefined, { ...clock, within });
    const error = await failure();
    assert.equal(error?.id, 'HUB_SILENT');
    assert.match(error?.message ?? '', /^connecting took longer than .*, without an answer from localhost/);
    assert.equal(limits[1], seconds(20)); // three attempts with their delays must end within 95 s
    await until('another attempt', () => connections >= 2);
    await until('the end of the first connection', () => sockets.size === 1);
  });

  it('disconnects at once if a packet of 256 MiB is announced, without allocating memory', async () => {
    let peak = 0;
    const before = process.memoryUsage().rss;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss - before);
    }, 10);
    attack = (socket) => {
      socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
      pour(socket, Buffer.alloc(MIB), 255 * MIB);
    };
    try {
      await start(undefined, fastClock(20));
      const error = await misbehaviour();
      assert.match(error?.message ?? '', /announced a packet of at least \d+ bytes; the limit is 1048576/);
      assert.match(error?.remedy ?? '', /is an IoT Hub or a gateway to one/);
      await until('another attempt', () => connections >= 2);
    } finally {
      clearInterval(watch);
    }
    process.stdout.write(`      ${Math.round(peak / MIB)} MiB at most\n`);
    assert.ok(peak < 100 * MIB, `${Math.round(peak / MIB)} MiB`);
  });

  it('reconnects at most six times per minute, as after any failure', async () => {
    attack = (socket) => socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
    const clock = fastClock(50);
    const from = clock.monotonic();
    await start(undefined, clock);
    await until('more attempts', () => connections >= 12);
    assert.ok(clock.monotonic() - from >= seconds(60), `${(clock.monotonic() - from) / 1_000} s`);
  });

  it('runs at most 32 methods at once if the hub calls methods endlessly', async () => {
    let calls = 0;
    const never = () => {
      calls += 1;
      return new Promise<MethodAnswer>(() => {});
    };
    const marker = '$iothub/twin/PATCH/properties/desired/?$version=2';
    attack = (socket) => {
      for (let call = 0; call < 1_000; call += 1)
        socket.write(publish(`$iothub/methods/POST/ping/?$rid=${call}`, '{}'));
      socket.write(publish(marker));
    };
    const hub = await start(never);
    await systemClock.within(seconds(20), 'the end', new Promise<void>((resolve) => hub.on('desired', resolve)));
    assert.equal(calls, 32);
  });

  it('reads ever more slowly if the hub sends messages endlessly', async () => {
    let received = 0;
    attack = (socket) =>
      pour(socket, Buffer.concat(Array(200).fill(publish('$iothub/twin/PATCH/properties/desired/'))));
    const hub = await start();
    const first = new Promise<number>((resolve) => {
      hub.on('desired', () => {
        received += 1;
        if (received === 1) resolve(systemClock.monotonic());
      });
    });
    const from = await systemClock.within(seconds(20), 'a first message', first);
    await systemClock.sleep(seconds(2));
    await until('2,000 messages', () => received >= 2_000);
    const took = (systemClock.monotonic() - from) / seconds(1);
    const most = 4_000 + 2_000 * took;
    process.stdout.write(`      ${received} messages in ${took.toFixed(1)} s\n`);
    assert.ok(received <= most + 200, `${received} of ${most}`);
    assert.equal(hub.status().state, 'connected');
  });

  it('disconnects if the hub acknowledges endlessly', async () => {
    attack = (socket) => pour(socket, Buffer.concat(Array(1_000).fill(Buffer.from([0xd0, 0x00]))));
    await start();
    const error = await misbehaviour();
    assert.match(error?.message ?? '', /more than 1000 packets a second/);
  });

  it('disconnects if messages would have to be kept until released (QoS 2)', async () => {
    attack = (socket) => socket.write(Buffer.from([0x34, 0x06, 0x00, 0x01, 0x61, 0x00, 0x01, 0x62]));
    await start();
    assert.match((await misbehaviour())?.message ?? '', /QoS 2/);
  });
});
