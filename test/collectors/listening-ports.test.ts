import assert from 'node:assert/strict';
import { listeningPorts } from '../../src/collectors/listening-ports.ts';
import type { ListeningSocket } from '../../src/contract/sources.ts';
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

  it('says which source it had', () => {
    assert.deepEqual(listeningPorts.sourceStatus?.(sources), { state: 'on', source: 'sockDiag' });
  });

  it('passes the signal on, and what went wrong', async () => {
    const failing = { ...sources.sockets, listening: (given: AbortSignal) => Promise.reject(given) };
    await assert.rejects(
      listeningPorts.collect({ ...sources, sockets: failing }, signal),
      (thrown) => thrown === signal,
    );
  });
});
