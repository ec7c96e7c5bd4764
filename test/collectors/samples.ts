import type { Lookups, Sources, Streams } from '../../src/contract/sources.ts';

/* Something for every collector to translate or collect. A new source or stream gets its sample here. */

export const CONTAINER = 'c0ffee'.repeat(11).slice(0, 64);
export const SHA256 = '5ead'.repeat(16);

export const look: Lookups = {
  newBatch: () => {},
  userName: (id) => ({ 0: 'root', 1000: 'alice' })[id],
  containerId: () => undefined,
  started: () => ({ containerId: CONTAINER, sha256: SHA256 }),
  interfaceName: (index) => ({ 2: 'eth0' })[index],
};

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
      {
        name: 'root',
        userId: 0,
        primaryGroupId: 0,
        shell: '/bin/bash',
        password: 'locked',
        groups: [{ id: 0, name: 'root' }],
      },
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
    status: () => ({ state: 'on', source: 'files' }),
  },
  firewall: {
    rules: async () => [
      {
        origin: 'nftables',
        family: 'inet',
        table: 'filter',
        chain: 'input',
        enabled: true,
        action: 'Allow',
        target: 'accept',
        priority: 0,
        direction: 'In',
        sourceAddress: '192.0.2.0/24',
        destinationPort: '22',
        protocol: 'tcp',
        matches: { 'in-interface': 'eth0', 'ct state': 'new' },
      },
      {
        origin: 'nftables',
        family: 'inet',
        table: 'filter',
        chain: 'input',
        enabled: true,
        action: 'Deny',
        target: 'policy drop',
        priority: 1,
        direction: 'In',
        matches: {},
      },
    ],
    status: () => ({ state: 'on', source: 'nft' }),
  },
  hardware: {
    devices: async () => [
      {
        category: 'USB',
        subCategory: 'Mass storage',
        name: 'SanDisk Ultra',
        vendorId: '0781',
        productId: '5581',
        serial: '4C5300',
        driver: 'usb-storage',
        bus: '1-1.4',
      },
    ],
    status: () => ({ state: 'on' }),
  },
  system: {
    facts: async () => ({
      osName: 'Debian GNU/Linux',
      osVersion: '13',
      osVendor: 'debian',
      architecture: 'aarch64',
      hostName: 'pump-7',
      biosVersion: '1.2',
      biosVendor: 'U-Boot',
      machineVendor: 'toradex',
      machineModel: 'Toradex Verdin iMX8M Plus',
      firmware: 'UEFI',
      secureBoot: true,
      kernelVersion: '6.12.48',
      hypervisor: 'kvm',
      container: 'docker',
      bootDevice: '/dev/mmcblk0p2',
      totalPhysicalMemoryInKB: 1_000_000,
      freePhysicalMemoryInKB: 400_000,
      totalVirtualMemoryInKB: 1_500_000,
      freeVirtualMemoryInKB: 900_000,
    }),
  },
  baseline: {
    scan: async () => ({
      ruleSet: { version: '1.0.0', sha256: SHA256 },
      scannedAt: new Date('2024-05-01T12:00:00.000Z'),
      durationMs: 80,
      outcomes: [
        {
          rule: 'file.etc-shadow',
          cce: 'CCE-4130-1',
          category: 'file-permissions',
          severity: 'Critical',
          title: '/etc/shadow is root-owned and at most 0640',
          result: 'fail',
          actual: 'file 0644 root:shadow',
          expected: 'file, at most 0640, owner root',
          where: '/etc/shadow',
          remediation: 'For /etc/shadow: chown root, chmod 0640, or less.',
          source: 'CIS Debian 13 7.1.5',
        },
        {
          rule: 'sysctl.kernel.kptr_restrict',
          category: 'sysctl-kernel',
          severity: 'Warning',
          title: 'Kernel pointers are hidden from ordinary users',
          result: 'err',
          expected: 'at least 1',
          reason: 'EACCES',
          remediation: 'Set kernel.kptr_restrict = 1.',
        },
        {
          rule: 'file.etc-passwd',
          category: 'file-permissions',
          severity: 'Critical',
          title: '/etc/passwd is root-owned and at most 0644',
          result: 'pass',
          remediation: 'Nothing.',
        },
      ],
      unknown: [],
      limits: [],
    }),
    status: () => ({ state: 'on' }),
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
  starts: {
    time,
    serial: 547,
    pid: 1445,
    parentPid: 1444,
    userId: 1000,
    loginUserId: 1000,
    executable: '/usr/bin/ls',
    startedAt: time,
    commandLine: 'ls -l /tmp',
    cwd: '/home/alice',
    terminal: 'pts0',
  },
  exits: { time, pid: 1445, executable: '/usr/bin/ls', exitStatus: 137, signal: 'SIGKILL' },
  connections: {
    time,
    direction: 'Out',
    protocol: 'TCP',
    remote: { address: '2001:db8::7', port: 443 },
    local: { address: '2001:db8::1', port: 50_112 },
    pid: 1445,
    parentPid: 1444,
    userId: 1000,
    executable: '/usr/bin/curl',
    commandLine: 'curl https://example.com/',
  },
  logins: {
    time,
    operation: 'Login',
    success: true,
    pid: 812,
    executable: '/usr/sbin/sshd',
    userId: 1000,
    userName: 'alice',
    remote: { address: '192.0.2.7', port: 50_113 },
    localPort: 22,
    terminal: '/dev/pts/0',
    sessionId: '3',
  },
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
