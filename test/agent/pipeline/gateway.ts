import type sinon from 'sinon';
import { minutes } from '../../../src/core/base/duration.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import type { Sources } from '../../../src/core/contract/sources.ts';
import type { LoginSeen } from '../../../src/core/contract/streams.ts';
import { look, records, SHA256, sources } from '../collectors/samples.ts';
import { SimulatedAgent } from './simulated-agent.ts';
import { seeded } from './simulated-files.ts';

/** What happens on a device in a day. */
export interface Life {
  /** Starts, and as many ends, of processes an hour, of fifty distinct commands. */
  readonly processesPerHour: number;
  readonly connectionsPerHour: number;
  /** Each a login, and a logout half an hour later. */
  readonly sessionsPerDay: number;
}

/** The agent of a small gateway: fifty commands of ten programs, connections to eight hosts, some logins. */
export class Gateway extends SimulatedAgent {
  readonly #random = seeded(7);
  #serial = 547;

  constructor(options: Omit<ConstructorParameters<typeof SimulatedAgent>[0], 'sources' | 'lookups'> = {}) {
    super({ ...options, sources: typical, lookups: host });
  }

  startProcess(command: number, program = command % COMMANDS.length): void {
    const argv = [
      `/usr/lib/pump/${COMMANDS[program % COMMANDS.length]}-${Math.floor(program / COMMANDS.length)}`,
      `--channel=${command}`,
      '--config',
      '/etc/pump/pump.conf',
    ];
    const time = new Date();
    const pid = 1_000 + Math.floor(this.#random() * 30_000);
    const { loginUserId: _, terminal: __, ...service } = records.starts;
    const start = {
      ...service,
      time,
      startedAt: time,
      pid,
      serial: this.#serial++,
      executable: argv[0],
      commandLine: argv.join(' '),
      cwd: '/',
    };
    this.occurrences.accept('starts', [start]);
    this.occurrences.accept('exits', [
      { time, pid, executable: argv[0] ?? '', exitStatus: this.#random() < 0.02 ? 1 : 0 },
    ]);
  }

  connect(): void {
    const which = Math.floor(this.#random() * 8);
    const local = { address: '192.0.2.10', port: 40_000 + Math.floor(this.#random() * 9_000) };
    const remote = { address: `198.51.100.${which}`, port: which < 4 ? 443 : 8883 };
    const executable = `/usr/lib/pump/${COMMANDS[which]}`;
    const commandLine = `${executable} --upload`;
    this.occurrences.accept('connections', [
      { ...records.connections, time: new Date(), remote, local, executable, commandLine },
    ]);
  }

  login(operation: LoginSeen['operation']): void {
    this.occurrences.accept('logins', [{ ...records.logins, time: new Date(), operation }]);
  }

  /** Lets a day pass, minute by minute. */
  async live(
    time: sinon.SinonFakeTimers,
    { processesPerHour, connectionsPerHour, sessionsPerDay }: Life,
  ): Promise<void> {
    const sessions = Array.from({ length: sessionsPerDay }, () => Math.floor(this.#random() * (24 * 60 - 40)));
    let processes = 0;
    let connections = 0;
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      for (; processes < ((minute + 1) * processesPerHour) / 60; processes += 1) this.startProcess(processes % 50);
      for (; connections < ((minute + 1) * connectionsPerHour) / 60; connections += 1) this.connect();
      for (const start of sessions) {
        if (start === minute) this.login('Login');
        if (start + 30 === minute) this.login('Logout');
      }
      await time.tickAsync(minutes(1));
    }
  }
}

const COMMANDS = [
  'sample',
  'upload',
  'rotate',
  'valve-check',
  'watchdog',
  'ntp-probe',
  'modbus-read',
  'report',
  'gc',
  'led',
];

const many = <T>(count: number, make: (n: number) => T) => Array.from({ length: count }, (_, n) => make(n));

/** A small gateway: what its snapshots find. */
const typical: Omit<Sources, 'statistics'> = {
  ...sources,
  sockets: {
    ...sources.sockets,
    listening: async () =>
      many(12, (n) => ({
        protocol: n % 2 === 0 ? 'tcp' : 'tcp6',
        localAddress: n % 2 === 0 ? '0.0.0.0' : '::',
        localPort: 22 + 100 * n,
        userId: n,
        pid: 800 + n,
        executable: `/usr/sbin/service-${n}`,
      })),
  },
  accounts: {
    ...sources.accounts,
    list: async () =>
      many(28, (n) => ({
        name: `account${n}`,
        userId: n,
        primaryGroupId: n,
        groups: [{ id: n, name: `account${n}` }],
      })),
  },
  hardware: {
    ...sources.hardware,
    devices: async () =>
      many(20, (n) => ({
        category: 'PCI',
        subCategory: 'Ethernet controller',
        name: `Controller ${n}`,
        vendorId: '8086',
        productId: `10d${n}`,
        driver: 'e1000e',
        bus: `0000:00:${n}.0`,
      })),
  },
};

/** Events of a host without containers. */
const host: Lookups = { ...look, started: () => ({ containerId: undefined, sha256: SHA256 }) };
