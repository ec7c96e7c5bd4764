import type { Lookups, Sources, Streams } from '../../src/contract/sources.ts';

/* Something for every collector to translate or collect. A new source or stream gets its sample here. */

export const look: Lookups = { userName: (id) => ({ 0: 'root', 1000: 'alice' })[id] };

export const sources: Sources = {
  sockets: {
    listening: async () => [
      { protocol: 'tcp', localAddress: '0.0.0.0', localPort: 22, userId: 0, pid: 812, executable: '/usr/sbin/sshd' },
      { protocol: 'tcp6', localAddress: '::', localPort: 22, userId: 0, pid: 812, executable: '/usr/sbin/sshd' },
      { protocol: 'udp6', localAddress: 'fe80::1', localPort: 546, zone: 'eth0', userId: 101 },
    ],
    status: () => ({ state: 'on', source: 'sockDiag' }),
  },
  accounts: {
    list: async () => [
      { name: 'root', userId: 0, primaryGroupId: 0, groups: [{ id: 0, name: 'root' }] },
      {
        name: 'alice',
        userId: 1000,
        primaryGroupId: 1000,
        groups: [
          { id: 1000, name: 'alice' },
          { id: 27, name: 'sudo' },
        ],
      },
    ],
  },
  system: {
    facts: async () => ({
      osName: 'Debian GNU/Linux',
      osVersion: '13',
      osVendor: 'debian',
      architecture: 'aarch64',
      hostName: 'pump-7',
      biosVersion: '1.2',
      bootDevice: '/dev/mmcblk0p2',
      totalPhysicalMemoryInKB: 1_000_000,
      freePhysicalMemoryInKB: 400_000,
      totalVirtualMemoryInKB: 1_500_000,
      freeVirtualMemoryInKB: 900_000,
    }),
  },
  statistics: {
    queues: async () => [
      { queue: 'High', collected: 5, dropped: 0, droppedBy: { kernel: 0 } },
      { queue: 'Low', collected: 100, dropped: 7, droppedBy: { kernel: 4, cacheFull: 3 } },
    ],
    messages: async () => ({ sent: 3, under4KB: 2, failed: 1 }),
  },
};

const time = new Date('2024-05-01T12:00:00.123Z');

export const records: { [K in keyof Streams]: Streams[K] } = {
  audit: {
    time,
    serial: 547,
    syscall: 'execve',
    abi: 'b64',
    success: true,
    fields: {
      exe: '/usr/bin/ls',
      pid: '1445',
      ppid: '1444',
      uid: '1000',
      euid: '1000',
      auid: '1000',
      tty: 'pts0',
      comm: 'ls',
    },
    argv: ['ls', '-l', '/tmp'],
    cwd: '/home/alice',
  },
  processes: { time, pid: 1445, parentPid: 1444, userId: 1000, executable: '/usr/bin/ls', argv: ['ls', '-l'] },
  log: {
    time,
    level: 'warn',
    message: 'Could not reach the hub.',
    id: 'HUB_UNREACHABLE',
    remedy: 'Check the network.',
  },
  configuration: {
    time,
    name: 'maxMessageSizeInBytes',
    type: 'NotOptimal',
    used: '5000',
    message: 'is no multiple of 4096',
  },
};
