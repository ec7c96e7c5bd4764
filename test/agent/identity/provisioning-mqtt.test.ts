import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { ServiceAnswer } from '../../../src/agent/identity/provisioning/answer.ts';
import { ConnectionRefused } from '../../../src/agent/identity/provisioning/conversation.ts';
import { MqttConversation, PacketCutter } from '../../../src/agent/identity/provisioning/mqtt.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { Network } from '../../../src/core/network/network.ts';
import { CertificateAuthority } from '../../../src/emulator/certificates.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { serverParser } from '../hub/support.ts';

const REGISTRANT = {
  idScope: '0ne00000001',
  registrationId: 'gateway7',
  token: 'SharedAccessSignature sr=a&sig=b&se=1',
};
const TOPIC = '$dps/registrations/res/202/?$rid=2&retry-after=3';
const BODY = '{"operationId":"4.a","status":"assigning"}';

const response = (topic = TOPIC, payload = BODY, qos: 0 | 1 = 1) =>
  mqttPacket.generate({ cmd: 'publish', topic, payload, qos, messageId: 9, dup: false, retain: false });
const CONNACK = mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false });

/** What a server does with a packet; `undefined`: as the service does. */
type Script = (packet: Packet, socket: TLSSocket) => boolean;

describe('Registration by MQTT', () => {
  let server: Server;
  let caPem: string;
  const received: Packet[] = [];
  const sockets = new Set<TLSSocket>();
  let script: Script = () => false;

  before(async () => {
    const certificate = await (await CertificateAuthority.create()).issueServer(['localhost']);
    caPem = certificate.caPem;
    server = createServer({ cert: certificate.certificatePem, key: certificate.keyPem }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      const parser = serverParser();
      parser.on('packet', (packet: Packet) => {
        received.push(packet);
        if (script(packet, socket)) return;
        if (packet.cmd === 'connect') socket.write(CONNACK);
        if (packet.cmd === 'subscribe') {
          socket.write(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] }));
        }
        if (packet.cmd === 'publish') socket.write(response());
      });
      socket.on('data', (chunk: Buffer) => parser.parse(chunk));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => new Promise((resolve) => server.close(resolve)));
  beforeEach(() => {
    received.length = 0;
    script = () => false;
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
  });

  const open = (signal = new AbortController().signal, clock = systemClock) =>
    MqttConversation.open(
      { network: new Network({ environment: {}, clock }), clock },
      { host: 'localhost', port: (server.address() as AddressInfo).port, trustedCa: caPem },
      REGISTRANT,
      signal,
    );

  const ask = async (): Promise<ServiceAnswer> => {
    const conversation = await open();
    try {
      return await conversation.register();
    } finally {
      conversation.close();
    }
  };

  it('sends what the service documents', async () => {
    const conversation = await open();
    const answer = await conversation.register();
    assert.deepEqual(answer, { status: 202, retryAfter: '3', body: BODY });
    script = (packet, socket) => {
      if (packet.cmd !== 'publish') return false;
      socket.write(response('$dps/registrations/res/200/?$rid=3', '{}', 0));
      return true;
    };
    assert.deepEqual(await conversation.progressOf('4.a'), { status: 200, retryAfter: undefined, body: '{}' });
    const ended = new Promise((resolve) => [...sockets][0]?.once('close', resolve));
    conversation.close();
    await ended;
    const [connect, subscribe, register] = received;
    assert.ok(connect?.cmd === 'connect' && subscribe?.cmd === 'subscribe' && register?.cmd === 'publish');
    assert.deepEqual(
      [connect.clientId, connect.username, String(connect.password), connect.clean],
      ['gateway7', '0ne00000001/registrations/gateway7/api-version=2019-03-31', REGISTRANT.token, true],
    );
    assert.deepEqual(
      subscribe.subscriptions.map(({ topic, qos }) => [topic, qos]),
      [['$dps/registrations/res/#', 1]],
    );
    assert.deepEqual(
      [register.topic, register.payload.toString()],
      ['$dps/registrations/PUT/iotdps-register/?$rid=2', '{"registrationId":"gateway7"}'],
    );
    const topics = received.flatMap((packet) => (packet.cmd === 'publish' ? [packet.topic] : []));
    assert.equal(topics[1], '$dps/registrations/GET/iotdps-get-operationstatus/?$rid=3&operationId=4.a');
    const kinds = received.map(({ cmd }) => cmd);
    assert.deepEqual([kinds.filter((cmd) => cmd === 'puback').length, kinds.at(-1)], [1, 'disconnect']);
  });

  it('reads answers that arrive byte by byte, and ignores those to other questions', async () => {
    script = (packet, socket) => {
      if (packet.cmd !== 'publish') return false;
      const all = Buffer.concat([
        response('$dps/registrations/res/401/?$rid=1', 'another'),
        response('$dps/registrations/res/abc/?$rid=2', 'no status'),
        response('devices/x/messages/$rid=2', 'no answer'),
        response('$dps/registrations/res/200', 'no id'),
        response(),
      ]);
      for (const byte of all) socket.write(Buffer.of(byte));
      return true;
    };
    assert.equal((await ask()).body, BODY);
  });

  for (const returnCode of [1, 2, 3, 4, 5]) {
    it(`is refused by CONNACK ${returnCode}`, async () => {
      script = (packet, socket) =>
        packet.cmd === 'connect' &&
        socket.write(mqttPacket.generate({ cmd: 'connack', returnCode, sessionPresent: false }));
      await assert.rejects(ask(), (error) => error instanceof ConnectionRefused && error.returnCode === returnCode);
    });
  }

  it('fails when the subscription is refused', async () => {
    script = (packet, socket) =>
      packet.cmd === 'subscribe' &&
      socket.write(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: [0x80] }));
    await assert.rejects(ask(), /refused the subscription/);
  });

  it('fails when the service closes the connection instead of an answer', async () => {
    script = (packet, socket) => packet.cmd === 'publish' && socket.end() !== undefined;
    await assert.rejects(ask(), /closed the connection/);
  });

  it('waits for a silent service no longer than its limit', async () => {
    script = ({ cmd }) => cmd === 'publish';
    const clock = {
      ...systemClock,
      within: (_limit: number, step: string, work: Promise<never>) => systemClock.within(seconds(0.2), step, work),
    };
    const conversation = await open(undefined, clock as typeof systemClock);
    await assert.rejects(conversation.register(), /the answer to a registration took longer/);
    conversation.close();
  });

  it('ends at once when it is cancelled', async () => {
    script = ({ cmd }) => cmd === 'publish';
    const stop = new AbortController();
    const conversation = await open(stop.signal);
    const asked = conversation.register();
    const reason = new Error('stopped');
    stop.abort(reason);
    await assert.rejects(asked, (error) => error === reason);
  });

  for (const [what, bytes] of [
    ['a packet of 256 MB', Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f])],
    ['a packet of 64 KB and a byte', Buffer.from([0x30, 0x81, 0x80, 0x04])],
    ['a malformed length', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x01])],
    ['QoS 2', Buffer.from([0x34, 0x02, 0, 0])],
    ["a client's packet", Buffer.from([0x10, 0x00])],
    ['an HTTP answer', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a topic that is longer than its packet', Buffer.from([0x30, 0x03, 0xff, 0xff, 0x61])],
  ] as const) {
    it(`ends the connection at ${what}`, async () => {
      script = (packet, socket) => packet.cmd === 'publish' && socket.write(bytes);
      await assert.rejects(ask(), (error) => error instanceof Error && !/took longer/.test(error.message));
    });
  }

  it('survives any bytes: an answer, or an error', async function () {
    this.timeout(180_000);
    const packet = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc
        .tuple(fc.string(), fc.string())
        .map(([topic, payload]) => response(`$dps/registrations/res/${topic}`, payload)),
      fc.constant(response()),
      fc.constant(CONNACK),
      fc.tuple(fc.nat(), fc.nat({ max: 255 })).map(([at, byte]) => {
        const broken = Buffer.from(response());
        broken[at % broken.length] = byte;
        return broken;
      }),
    );
    const from = fc.constantFrom('connect', 'subscribe', 'publish');
    await fc.assert(
      fc.asyncProperty(from, fc.array(packet, { maxLength: 5 }), async (from, packets) => {
        script = (packet, socket) => {
          if (packet.cmd !== from) return false;
          for (const bytes of packets) socket.write(bytes);
          socket.end();
          return true;
        };
        const outcome = await ask().catch((error: unknown) => error);
        if (outcome instanceof Error) assert.doesNotMatch(outcome.message, /took longer/);
        else assert.equal(typeof (outcome as ServiceAnswer).status, 'number');
      }),
      { numRuns: fuzzRuns(1_000) },
    );
  });
});

describe('PacketCutter', () => {
  it('cuts any stream into the same packets, however it arrives', () => {
    const payloads = fc.array(fc.string({ maxLength: 300 }), { maxLength: 6 });
    fc.assert(
      fc.property(payloads, fc.array(fc.integer({ min: 1, max: 400 })), (payloads, sizes) => {
        const packets = payloads.map((payload) => response(TOPIC, payload));
        const stream = Buffer.concat(packets);
        const cutter = new PacketCutter();
        const cut: Buffer[] = [];
        let at = 0;
        for (const size of [...sizes, stream.length]) {
          cut.push(...cutter.push(stream.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(cut, packets);
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  });
});
