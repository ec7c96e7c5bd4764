import assert from 'node:assert/strict';
import { listeningPorts } from '../../../src/agent/collectors/listening-ports.ts';
import type { ListeningSocket } from '../../../src/core/contract/sources.ts';
import { processorTime } from '../../harness/processor-time.ts';
import { sources } from './samples.ts';

const { signal } = new AbortController();
const of = (...sockets: ListeningSocket[]) =>
  listeningPorts.collect({ ...sources, sockets: { ...sources.sockets, listening: async () => sockets } }, signal);

const sshd: ListeningSocket = { protocol: 'tcp', localAddress: '0.0.0.0', localPort: 22, userId: 0 };

describe('ListeningPorts', () => {
  it('reports the address, the port as a string, and the process of a socket', async () => {
    assert.deepEqual(await of({ ...sshd, pid: 812, executable: '/usr/sbin/sshd' }), [
      {
        Protocol: 'tcp',
        LocalAddress: '0.0.0.0',
        LocalPort: '22',
        ExtraDetails: { Pid: '812', Executable: '/usr/sbin/sshd', UserId: '0' },
      },
    ]);
  });

  it('omits an unknown process', async () => {
    assert.deepEqual(await of(sshd), [
      { Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort: '22', ExtraDetails: { UserId: '0' } },
    ]);
  });

  it('appends the zone to a link-local address', async () => {
    const socket: ListeningSocket = { ...sshd, protocol: 'udp6', localAddress: 'fe80::1', zone: 'eth0' };
    assert.deepEqual(await of(socket), [
      { Protocol: 'udp6', LocalAddress: 'fe80::1', LocalPort: '22', ExtraDetails: { UserId: '0', Zone: 'eth0' } },
    ]);
  });

  it('reports sockets with the same port and process once', async () => {
    assert.equal((await of({ ...sshd, pid: 1 }, { ...sshd, pid: 1 }, { ...sshd, pid: 2 })).length, 2);
  });

  it('returns an empty payload without listening sockets', async () => assert.deepEqual(await of(), []));

  it('reports its source', () => {
    assert.deepEqual(listeningPorts.sourceStatus?.(sources), { state: 'on', source: 'sockDiag' });
  });

  it('passes the abort signal on, and rethrows errors', async () => {
    const failing = { ...sources.sockets, listening: (given: AbortSignal) => Promise.reject(given) };
    await assert.rejects(
      listeningPorts.collect({ ...sources, sockets: failing }, signal),
      (thrown) => thrown === signal,
    );
  });

  describe('ListeningPorts during a flood of sockets', () => {
    const flood = (count: number, of: Partial<ListeningSocket> = {}): ListeningSocket[] =>
      Array.from({ length: count }, (_, n) => ({
        ...sshd,
        localAddress: '127.0.0.1',
        localPort: 10_000 + n,
        userId: 1000,
        pid: 4_000,
        ...of,
      }));
    const portsOf = async (...sockets: ListeningSocket[]) => (await of(...sockets)).map(({ LocalPort }) => LocalPort);

    it('lists ports that are reachable from outside first, then those of root, loopback last', async () => {
      const at = (localPort: number, localAddress: string, userId: number) => ({
        ...sshd,
        localPort,
        localAddress,
        userId,
      });
      assert.deepEqual(
        await portsOf(
          at(1, '127.0.0.1', 1000),
          at(2, '::1', 0),
          at(3, '127.0.0.53', 0),
          at(9_004, '0.0.0.0', 1000),
          at(9_000, '192.0.2.1', 33),
          at(8_000, 'fe80::1', 33),
        ),
        ['8000', '9000', '9004', '2', '3', '1'],
      );
    });

    it('merges adjacent ports of one process at one address into one row', async () => {
      assert.deepEqual(await of(...flood(10_000)), [
        {
          Protocol: 'tcp',
          LocalAddress: '127.0.0.1',
          LocalPort: '10000-19999',
          ExtraDetails: { Pid: '4000', UserId: '1000', Count: '10000' },
        },
      ]);
    });

    it('keeps ports apart that differ in process, user, address, zone or protocol, or are not adjacent', async () => {
      const [one] = flood(1);
      assert.ok(one);
      const changes: Partial<ListeningSocket>[] = [
        { pid: 4_001 },
        { userId: 1001 },
        { localAddress: '127.0.0.2' },
        { zone: 'lo' },
        { protocol: 'udp' },
        { localPort: 10_002 },
      ];
      const rows = await of(one, ...changes.map((change) => ({ ...one, localPort: 10_001, ...change })));
      assert.equal(rows.length, 7);
      assert.ok(rows.every(({ LocalPort }) => /^\d+$/.test(String(LocalPort))));
    });

    it('counts sockets, not rows', async () => {
      assert.equal(listeningPorts.count?.(await of(...flood(500), sshd)), 501);
    });

    it("keeps other users' ports when a user opens many reachable ports", async () => {
      const every2nd = flood(5_000, { localAddress: '0.0.0.0' }).map((socket, n) => ({
        ...socket,
        localPort: 20 + 2 * n,
      }));
      const ports = await portsOf(
        ...every2nd,
        { ...sshd, localPort: 31_337, userId: 1001, pid: 5_000 },
        { ...sshd, localPort: 31_339, userId: 1000, pid: 5_001 },
      );
      assert.ok(ports.indexOf('31337') < 100, String(ports.indexOf('31337')));
      assert.ok(ports.indexOf('31339') < 100, String(ports.indexOf('31339')));
    });

    it("keeps other users' ports when a user starts many processes", async () => {
      const ofMany = flood(5_000, { localAddress: '0.0.0.0' }).map((socket, n) => ({ ...socket, pid: 10_000 + n }));
      const ports = await portsOf(...ofMany, { ...sshd, localPort: 31_337, userId: 1001, pid: 5_000 });
      assert.ok(ports.indexOf('31337') < 100, String(ports.indexOf('31337')));
    });

    it('does not block the event loop with 50,000 sockets', async () => {
      const many = flood(50_000).map((socket, n) => ({
        ...socket,
        localPort: 1 + 2 * (n % 30_000),
        pid: 4_000 + (n % 7),
      }));
      await of(...many); // compiles the code
      const used = processorTime();
      await of(...many);
      assert.ok(used() < 2_000, `${used()} ms`);
    });
  });
});
