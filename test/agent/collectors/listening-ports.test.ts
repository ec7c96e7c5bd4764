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
  it('reports the address, the port as text, and who holds the socket', async () => {
    assert.deepEqual(await of({ ...sshd, pid: 812, executable: '/usr/sbin/sshd' }), [
      {
        Protocol: 'tcp',
        LocalAddress: '0.0.0.0',
        LocalPort: '22',
        ExtraDetails: { Pid: '812', Executable: '/usr/sbin/sshd', UserId: '0' },
      },
    ]);
  });

  it('leaves the process out when it cannot be seen', async () => {
    assert.deepEqual(await of(sshd), [
      { Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort: '22', ExtraDetails: { UserId: '0' } },
    ]);
  });

  it('puts the zone of a link-local address beside the address', async () => {
    const socket: ListeningSocket = { ...sshd, protocol: 'udp6', localAddress: 'fe80::1', zone: 'eth0' };
    assert.deepEqual(await of(socket), [
      { Protocol: 'udp6', LocalAddress: 'fe80::1', LocalPort: '22', ExtraDetails: { UserId: '0', Zone: 'eth0' } },
    ]);
  });

  it('reports sockets that share port and process once', async () => {
    assert.equal((await of({ ...sshd, pid: 1 }, { ...sshd, pid: 1 }, { ...sshd, pid: 2 })).length, 2);
  });

  it('answers with nothing when nothing listens', async () => assert.deepEqual(await of(), []));

  it('reports which source was used', () => {
    assert.deepEqual(listeningPorts.sourceStatus?.(sources), { state: 'on', source: 'sockDiag' });
  });

  it('passes the signal on, and what went wrong', async () => {
    const failing = { ...sources.sockets, listening: (given: AbortSignal) => Promise.reject(given) };
    await assert.rejects(
      listeningPorts.collect({ ...sources, sockets: failing }, signal),
      (thrown) => thrown === signal,
    );
  });

  describe('of a machine that someone floods with sockets', () => {
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

    it('puts what can be reached from outside first, then what is of root, loopback last', async () => {
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

    it('makes one row of adjacent ports of one process at one address', async () => {
      assert.deepEqual(await of(...flood(10_000)), [
        {
          Protocol: 'tcp',
          LocalAddress: '127.0.0.1',
          LocalPort: '10000-19999',
          ExtraDetails: { Pid: '4000', UserId: '1000', Count: '10000' },
        },
      ]);
    });

    it('keeps apart what differs in process, user, address, zone or protocol, and ports that are not adjacent', async () => {
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

    it('counts the sockets, not the rows', async () => {
      assert.equal(listeningPorts.count?.(await of(...flood(500), sshd)), 501);
    });

    it('does not let a user displace the ports of others by many reachable ports of his own', async () => {
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

    it('nor by processes, as many as he likes', async () => {
      const ofMany = flood(5_000, { localAddress: '0.0.0.0' }).map((socket, n) => ({ ...socket, pid: 10_000 + n }));
      const ports = await portsOf(...ofMany, { ...sshd, localPort: 31_337, userId: 1001, pid: 5_000 });
      assert.ok(ports.indexOf('31337') < 100, String(ports.indexOf('31337')));
    });

    it('does not block the event loop for 50,000', async () => {
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
