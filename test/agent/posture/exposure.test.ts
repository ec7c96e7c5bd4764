import assert from 'node:assert/strict';
import { exposureOf } from '../../../src/agent/posture/exposure.ts';
import type { ListeningSocket } from '../../../src/core/contract/sources.ts';
import { portRows } from './rows.ts';

const socket = (localPort: number, more: Partial<ListeningSocket> = {}): ListeningSocket => ({
  protocol: 'tcp',
  localAddress: '0.0.0.0',
  localPort,
  userId: 0,
  ...more,
});
const exposure = async (...sockets: ListeningSocket[]) => exposureOf(await portRows(sockets));

describe('exposure', () => {
  const CASES: Readonly<Record<string, { sockets: ListeningSocket[]; openPorts: number; ports: string }>> = {
    'no socket': { sockets: [], openPorts: 0, ports: '' },
    'all interfaces, IPv4': { sockets: [socket(22)], openPorts: 1, ports: '22/tcp' },
    'all interfaces, IPv6': {
      sockets: [socket(53, { protocol: 'udp6', localAddress: '::' })],
      openPorts: 1,
      ports: '53/udp',
    },
    'loopback, IPv4': { sockets: [socket(631, { localAddress: '127.0.0.1' })], openPorts: 0, ports: '' },
    'another address of loopback': { sockets: [socket(53, { localAddress: '127.0.0.53' })], openPorts: 0, ports: '' },
    'loopback, IPv6': { sockets: [socket(631, { protocol: 'tcp6', localAddress: '::1' })], openPorts: 0, ports: '' },
    'a link-local address': {
      sockets: [socket(546, { protocol: 'udp6', localAddress: 'fe80::1', zone: 'eth0' })],
      openPorts: 1,
      ports: '546/udp',
    },
    'a multicast address': {
      sockets: [socket(5353, { protocol: 'udp', localAddress: '224.0.0.251' })],
      openPorts: 1,
      ports: '5353/udp',
    },
    'one port at several addresses, and with both families': {
      sockets: [
        socket(22, { executable: '/usr/sbin/sshd', pid: 1 }),
        socket(22, { protocol: 'tcp6', localAddress: '::', executable: '/usr/sbin/sshd', pid: 1 }),
        socket(22, { localAddress: '192.0.2.1', executable: '/usr/sbin/sshd', pid: 1 }),
      ],
      openPorts: 1,
      ports: '22/tcp (sshd)',
    },
    'the same number for TCP and for UDP': {
      sockets: [socket(53), socket(53, { protocol: 'udp' })],
      openPorts: 2,
      ports: '53/tcp, 53/udp',
    },
    'a range, and another process on a port of it': {
      sockets: [
        ...[8000, 8001, 8002].map((port) => socket(port, { pid: 5, executable: '/usr/bin/node' })),
        socket(8001, { pid: 6, executable: '/usr/bin/nginx', localAddress: '192.0.2.1' }),
      ],
      openPorts: 3,
      ports: '8000-8002/tcp (node), 8001/tcp (nginx)',
    },
    'the same range twice, and one that goes on': {
      sockets: [10, 11, 12].flatMap((port) => [
        socket(port),
        socket(port + 1, { protocol: 'tcp6', localAddress: '::' }),
      ]),
      openPorts: 4,
      ports: '10-12/tcp, 11-13/tcp',
    },
    'a range with others in it': {
      sockets: [
        ...[10, 11, 12, 13, 14, 15].map((port) => socket(port)),
        socket(11, { pid: 2 }),
        ...[13, 14].map((port) => socket(port, { pid: 3 })),
      ],
      openPorts: 6,
      ports: '10-15/tcp, 11/tcp, 13-14/tcp',
    },
    'a program that was replaced': {
      sockets: [socket(80, { executable: '/opt/web/server (deleted)', pid: 9 })],
      openPorts: 1,
      ports: '80/tcp (server)',
    },
    'the highest port': { sockets: [socket(65_535)], openPorts: 1, ports: '65535/tcp' },
  };
  for (const [what, { sockets, ...expected }] of Object.entries(CASES))
    it(`counts the open ports of ${what}`, async () => assert.deepEqual(await exposure(...sockets), expected));

  it('masks characters of a program name that could pass for another entry', async () => {
    const names = ['a), 22 tcp (sshd', 'red\u001b[31m', 'line\nbreak', '\u202egnp', 'ü', 'x'.repeat(500), '<b>&'];
    const { ports } = await exposure(
      ...names.map((name, index) => socket(1_000 + 2 * index, { executable: `/tmp/${name}`, pid: index })),
    );
    assert.match(ports, /^[0-9]+\/tcp \([A-Za-z0-9._+@:-]{1,32}\)(?:, [0-9]+\/tcp \([A-Za-z0-9._+@:-]{1,32}\))*$/);
    assert.ok(ports.includes('1000/tcp (a___22_tcp__sshd)'), ports);
  });

  it('limits the list to 1 KB for 10,000 ports of one user, with the ports of all other users and the full count', async () => {
    const many = Array.from({ length: 10_000 }, (_, index) =>
      socket(2_000 + 2 * index, { userId: 1_000, pid: 700, executable: `/tmp/${'n'.repeat(40)}` }),
    );
    const { openPorts, ports } = await exposure(...many, socket(22, { pid: 1 }), socket(65_000, { pid: 2 }));
    assert.equal(openPorts, 10_002);
    assert.ok(Buffer.byteLength(ports) <= 1_024, String(ports.length));
    assert.ok(ports.startsWith('22/tcp, '), ports);
    assert.ok(ports.includes(', 65000/tcp, '), ports);
    assert.match(ports, /, \d+ more$/);
    const listed = ports.split(', ').length - 1;
    assert.equal(Number(/(\d+) more$/.exec(ports)?.[1]), openPorts - listed);
  });
});
