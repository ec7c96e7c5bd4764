import assert from 'node:assert/strict';
import { once } from 'node:events';
import { promisify } from 'node:util';
import sinon from 'sinon';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { MethodError } from '../../src/emulator/method-calls.ts';
import { bareClient, DEVICE, MODULE, module, sdkClient } from './clients.ts';

const CALLS = '$iothub/methods/POST/#';

describe('direct methods of the hub emulator', () => {
  let hub: HubEmulator;
  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module], controlPort: 0 });
  });
  afterEach(() => hub.stop());

  const fails = (status: number, errorCode: number) => (error: unknown) =>
    error instanceof MethodError && error.status === status && error.errorCode === errorCode;

  /** A subscribed module, and a callback for the topic and payload of each call. */
  async function listener(
    answer: (topic: string, payload: string, say: (topic: string, body: string) => void) => void,
  ) {
    const client = bareClient(hub);
    await once(client, 'connect');
    client.on('message', (topic, payload) =>
      answer(topic, payload.toString(), (to, body) => client.publish(to, body, { qos: 0 })),
    );
    await promisify((done: (error: Error | null | undefined) => void) => client.subscribe(CALLS, { qos: 0 }, done))();
    return client;
  }
  const requestId = (topic: string) => new URLSearchParams(topic.split('?')[1]).get('$rid') ?? '';

  it('returns the answer of the SDK’s own client', async () => {
    const { client, remove } = await sdkClient(hub);
    try {
      await client.open();
      client.onMethod('add', (request, response) => {
        assert.ok(request && response);
        const { a, b } = request.payload;
        response.send(201, { sum: a + b });
      });
      const listens = async (): Promise<unknown> => {
        try {
          return await hub.invokeMethod(DEVICE, MODULE, 'add', { a: 1, b: 2 });
        } catch (error) {
          assert.ok(error instanceof MethodError && error.errorCode === 404103); // its subscription is on the way
          await systemClock.sleep(seconds(0.02));
          return listens();
        }
      };
      assert.deepEqual(await listens(), { status: 201, payload: { sum: 3 } });
    } finally {
      await client.close();
      remove();
    }
  });

  it('can be called over HTTP, as at a real hub', async () => {
    const client = await listener((topic, payload, say) => {
      assert.match(topic, /^\$iothub\/methods\/POST\/ping\/\?\$rid=/);
      assert.equal(payload, '{"a":1}');
      say(`$iothub/methods/res/200/?$rid=${requestId(topic)}`, '{"b":2}');
    });
    const call = (body: object) =>
      fetch(`http://127.0.0.1:${hub.controlPort}/twins/${DEVICE}/modules/${MODULE}/methods`, {
        method: 'POST',
        headers: { authorization: `Bearer ${hub.controlToken}` },
        body: JSON.stringify(body),
      });
    const answer = await call({ methodName: 'ping', payload: { a: 1 }, responseTimeoutInSeconds: 10 });
    assert.deepEqual([answer.status, await answer.json()], [200, { status: 200, payload: { b: 2 } }]);
    for (const body of [{}, { methodName: 'a/b' }, { methodName: 'a', responseTimeoutInSeconds: '5' }]) {
      assert.equal((await call(body)).status, 400, JSON.stringify(body));
    }
    client.end(true);
  });

  it('fail at once when the module is not connected or not subscribed', async () => {
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping'), fails(404, 404103));
    const client = bareClient(hub);
    await once(client, 'connect');
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping'), fails(404, 404103)); // it does not listen
    client.end(true);
    await assert.rejects(hub.invokeMethod('other', MODULE, 'ping'), RangeError);
  });

  it('fail when the module goes before it has answered', async () => {
    const client = await listener(() => client.end(true));
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping'), fails(404, 404104));
  });

  it('rejects with an error if the answer is invalid', async () => {
    const client = await listener((topic, _payload, say) =>
      say(`$iothub/methods/res/200/?$rid=${requestId(topic)}`, 'no JSON'),
    );
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping'), fails(502, 502000));
    client.end(true);
  });

  it('fail after the time-out, and a later answer is ignored', async () => {
    let late = () => {};
    let arrive = () => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const client = await listener((topic, _payload, say) => {
      late = () => say(`$iothub/methods/res/200/?$rid=${requestId(topic)}`, '{}');
      arrive();
    });
    const time = sinon.useFakeTimers({ toFake: ['setTimeout'] });
    const called = assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping', {}, seconds(5)), fails(504, 504101));
    await arrived;
    await time.tickAsync(seconds(5));
    time.restore();
    await called;
    late();
    client.end(true);
  });

  it('need a time-out and a payload within the limits of a hub', async () => {
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping', {}, seconds(4)), fails(400, 400004));
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping', {}, seconds(301)), fails(400, 400004));
    await assert.rejects(hub.invokeMethod(DEVICE, MODULE, 'ping', 'x'.repeat(200_000)), fails(413, 413001));
  });
});
