import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { seconds } from '../../../src/core/base/duration.ts';
import { ATTEMPT_DELAY, dial } from '../../../src/core/network/dial.ts';
import { Names } from '../../../src/core/network/names.ts';
import { Network } from '../../../src/core/network/network.ts';
import { until } from '../../harness/until.ts';
import { HandClock, never, Sockets } from './bench.ts';

describe('dial', () => {
  let sockets: Sockets;
  let clock: HandClock;
  /** Accepted connections of the server of `listen`. */
  let accepted: Socket[];

  const openSockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;

  beforeEach(() => {
    sockets = new Sockets();
    clock = new HandClock();
    accepted = [];
  });
  afterEach(() => sockets.close());

  const listen = (host: string, port = 0) =>
    sockets.listen((socket) => void accepted.push(socket.resume()), { host, port });
  const start = (addresses: string[], port: number, signal = never) => dial({ addresses, port, clock, signal });
  const dialled = async (...asked: Parameters<typeof start>) => sockets.keep(await start(...asked));

  const silent = () => sockets.silent({ host: '127.0.0.3', port: 0 });

  it('connects to the only address', async () => {
    const port = await listen('127.0.0.1');
    const socket = await dialled(['127.0.0.1'], port);
    assert.equal(socket.remoteAddress, '127.0.0.1');
    assert.deepEqual([socket.listenerCount('connect'), clock.timers], [0, 0]);
  });

  it('tries the next address at once when one refuses', async () => {
    const port = await listen('127.0.0.1');
    const socket = await dialled(['127.0.0.2', '::1', '127.0.0.1'], port);
    assert.deepEqual([socket.remoteAddress, clock.monotonic(), clock.timers], ['127.0.0.1', 0, 0]);
  });

  it('connects by IPv6', async () => {
    const port = await listen('::1');
    const socket = await dialled(['127.0.0.1', '::1'], port);
    assert.equal(socket.remoteAddress, '::1');
  });

  it('tries the next address beside a silent one, after 2 s and no sooner, and closes the silent attempt', async () => {
    const { port } = await silent();
    await listen('127.0.0.1', port);
    const dialling = dialled(['127.0.0.3', '127.0.0.1'], port);
    await clock.advance(seconds(1.9));
    assert.equal(accepted.length, 0);
    const before = openSockets();
    await clock.advance(seconds(0.1));
    const socket = await dialling;
    assert.equal(socket.remoteAddress, '127.0.0.1');
    await until('the silent attempt closed', () => openSockets() === before + 1); // one connection has two ends, and one is gone
    assert.equal(clock.timers, 0);
  });

  it('keeps waiting for a silent address when the next one refuses', async () => {
    const { port, wake } = await silent();
    const dialling = dialled(['127.0.0.3', '127.0.0.2'], port);
    await clock.advance(ATTEMPT_DELAY);
    wake(); // the kernel sends the SYN again after a second, and it is answered
    assert.equal((await dialling).remoteAddress, '127.0.0.3');
  });

  it('fails with the error of the only address', async () => {
    const port = await listen('127.0.0.1');
    await assert.rejects(start(['127.0.0.2'], port), {
      name: 'Error',
      code: 'ECONNREFUSED',
      message: `connect ECONNREFUSED 127.0.0.2:${port}`,
    });
    assert.equal(clock.timers, 0);
  });

  it('fails with all errors, the most specific one first', async () => {
    const port = await listen('127.0.0.1');
    const refused = (address: string) => `connect ECONNREFUSED ${address}:${port}`;
    await assert.rejects(start(['255.255.255.255', '127.0.0.2', '127.0.0.3'], port), (error: AggregateError) => {
      assert.equal((error as { code?: string }).code, 'ECONNREFUSED');
      assert.match(error.message, new RegExp(`^${refused('127.0.0.2')}; .*${refused('127.0.0.3')}`));
      return error.errors.length === 3;
    });
    await assert.rejects(start(['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5', '127.0.0.6'], port), {
      message: /^(connect \S+ \S+; ){4}and 1 more$/,
    });
  });

  it('closes every attempt when it is aborted', async () => {
    const { port } = await silent();
    const stop = new AbortController();
    const dialling = start(['127.0.0.3', '127.0.0.3'], port, stop.signal);
    await clock.advance(ATTEMPT_DELAY);
    const before = openSockets();
    stop.abort();
    await assert.rejects(dialling, { name: 'AbortError' });
    await until('both attempts closed', () => openSockets() === before - 2);
    assert.equal(clock.timers, 0);
    await assert.rejects(start(['127.0.0.1'], port, stop.signal), { name: 'AbortError' });
  });

  describe('by a network', () => {
    it('takes at most 20 s, however many addresses are silent', async () => {
      const { port } = await silent();
      const addresses = Array.from({ length: 32 }, () => '127.0.0.3');
      const network = new Network({ environment: {}, clock, lookUp: async () => addresses });
      const connecting = network.connect({ host: 'hub.example', port }, never);
      const failed = assert.rejects(connecting, {
        name: 'TimeLimitError',
        message: `connecting to hub.example:${port} took longer than 20 s`,
      });
      await clock.advance(seconds(0));
      for (let second = 0; second < 20; second += 1) await clock.advance(seconds(1));
      await failed;
      assert.equal(clock.timers, 0);
    });

    it('counts a lookup that hangs, and starts no second one for the same name', async () => {
      let asked = 0;
      let answer: (addresses: string[]) => void = () => {};
      const lookUp = () => {
        asked += 1;
        return new Promise<string[]>((resolve) => {
          answer = resolve;
        });
      };
      const network = new Network({ environment: {}, clock, lookUp });
      const port = await listen('127.0.0.1');
      const failed = assert.rejects(network.connect({ host: 'hub.example', port }, never), { name: 'TimeLimitError' });
      await clock.advance(seconds(20));
      await failed;
      const stop = new AbortController();
      const second = assert.rejects(network.connect({ host: 'hub.example', port }, stop.signal), {
        name: 'AbortError',
      });
      await clock.advance(seconds(1));
      assert.equal(asked, 1);
      answer(['127.0.0.1']);
      await until('a connection', () => accepted.length === 1);
      stop.abort();
      await second;
      await until('its end', () => accepted[0]?.destroyed === true);
      assert.equal(clock.timers, 0);
    });

    it('reports a name without an address', async () => {
      const network = new Network({ environment: {}, clock, lookUp: async () => [] });
      await assert.rejects(network.connect({ host: 'hub.example', port: 1 }, never), {
        code: 'ENOTFOUND',
        message: /hub\.example/,
      });
      const real = new Network({ environment: {}, clock });
      await assert.rejects(real.connect({ host: 'no-such-hub.invalid', port: 1 }, never), {
        code: /^(?:ENOTFOUND|EAI_AGAIN)$/,
      });
    });
  });
});

describe('Names', () => {
  const of = (...addresses: string[]) => new Names(async () => addresses).addressesOf('hub.example', never);

  it('alternates the families, beginning with the better one', async () => {
    assert.deepEqual(await of('::1', '::2', '::3', '1.1.1.1', '2.2.2.2'), ['::1', '1.1.1.1', '::2', '2.2.2.2', '::3']);
    assert.deepEqual(await of('1.1.1.1', '2.2.2.2', '::1'), ['1.1.1.1', '::1', '2.2.2.2']);
  });

  it('tries at most 32 addresses', async () => {
    assert.equal((await of(...Array.from({ length: 1_000 }, () => '1.1.1.1'))).length, 32);
  });

  it('asks for no address', async () => {
    const names = new Names(() => assert.fail('asked'));
    for (const address of ['10.0.0.1', '::1', 'fe80::1%eth0']) {
      assert.deepEqual(await names.addressesOf(address, never), [address]);
    }
  });

  it('asks again after an answer, and after an error', async () => {
    let asked = 0;
    const names = new Names(async () => {
      asked += 1;
      if (asked === 1) throw new Error('no answer');
      return ['1.1.1.1'];
    });
    await assert.rejects(names.addressesOf('a', never), { message: 'no answer' });
    const both = await Promise.all([names.addressesOf('a', never), names.addressesOf('a', never)]);
    assert.deepEqual(both, [['1.1.1.1'], ['1.1.1.1']]);
    assert.equal(asked, 2);
    await names.addressesOf('a', never);
    assert.equal(asked, 3);
  });

  it('starts no lookup for a caller that has already given up', async () => {
    const names = new Names(() => assert.fail('asked'));
    await assert.rejects(names.addressesOf('a', AbortSignal.abort()), { name: 'AbortError' });
  });
});
