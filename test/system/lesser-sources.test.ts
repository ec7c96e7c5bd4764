import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Finding } from '../../src/agent/commands/check/finding.ts';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { readU32 } from '../../src/agent/linux/native/byte-order.ts';
import {
  NETLINK_AUDIT,
  NETLINK_CONNECTOR,
  NETLINK_SOCK_DIAG,
  openNetlink,
} from '../../src/agent/linux/native/netlink/socket.ts';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { minutes } from '../../src/core/base/duration.ts';
import type { Payload } from '../../src/core/contract/event.ts';
import { release } from '../fuzz.ts';
import { suiteFolder, temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { withoutKoffi } from '../harness/without-koffi.ts';
import { PROGRAM, QUICK, TestBed } from '../integration/test-bed.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { Auditd } from './auditd.ts';
import { Connector } from './connector.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { buildNative, UnderFilter } from './under-filter.ts';

const NETLINK_NETFILTER = 12;
const [ENOSYS, EPROTONOSUPPORT] = [38, 93];

/** Filter rules that fail socket(2) for these netlink families (its third argument), like a kernel without them. */
const withoutFamilies = (...families: readonly number[]) => [
  'default allow',
  ...families.map((family) => `errno socket ${EPROTONOSUPPORT} 2 eq ${family}`),
];

/** Calls newer than Linux 4.18, the oldest kernel that Node 20 supports; and statx, which older container engines refuse. */
const NEW_CALLS = [
  ...['statx', 'rseq', 'io_pgetevents', 'pidfd_send_signal', 'io_uring_setup', 'io_uring_enter', 'io_uring_register'],
  ...['open_tree', 'move_mount', 'fsopen', 'fsconfig', 'fsmount', 'fspick', 'pidfd_open', 'clone3', 'close_range'],
  ...[
    'openat2',
    'pidfd_getfd',
    'faccessat2',
    'process_madvise',
    'epoll_pwait2',
    'mount_setattr',
    'landlock_create_ruleset',
  ],
  ...['landlock_add_rule', 'landlock_restrict_self', 'memfd_secret', 'process_mrelease', 'futex_waitv'],
  ...['set_mempolicy_home_node', 'cachestat', 'fchmodat2', 'futex_wake', 'futex_wait', 'futex_requeue', 'statmount'],
  ...['listmount', 'mseal'],
];

/** A source's expected state, name, and reason with its remedy. */
type Expected = readonly [state: string, source: string | undefined, reason?: RegExp];

/** How the agent and the commands are started, so that something is missing for them. */
interface Limitation {
  readonly through?: readonly string[];
  readonly options?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

interface Situation {
  readonly limit: () => Limitation;
  /** Whether kernel audit is used. */
  readonly usesAudit?: true;
  readonly besideAuditd?: true;
  /** An agent could not reach the hub in this situation: `vakt check` opens the sources itself. */
  readonly checkOnly?: true;
  /** The sources of these collectors. */
  readonly expected: Readonly<Record<string, Expected>>;
  /** The result of `vakt check` for audit itself: finding and remedy. */
  readonly audit?: RegExp;
  /** Additional assertions while the agent runs. */
  readonly assertMore?: () => Promise<void>;
}

const NO_AUDIT = /denies this process access to audit records.*EPROTONOSUPPORT.*CONFIG_AUDIT=y.*without audit=0/;
const NO_CONNECTOR = /process connector is not available.*EPROTONOSUPPORT.*CONFIG_CONNECTOR=y and CONFIG_PROC_EVENTS=y/;
const NO_NATIVE_CODE = /koffi cannot be loaded.*Install the package @koromix\/koffi-linux-\*/;
const NO_LISTENING = /denies this process access to audit records.*EPERM.*Grant CAP_AUDIT_CONTROL and CAP_AUDIT_READ/;
/** Most machines have such processes; see src/agent/linux/README.md. */
const OLDER_PROCESSES =
  /^\d+ processes? .*(?:running when audit was first enabled|may be older than audit in this boot)/;

/** Sources of a system without limitations. */
const ALL_FROM_AUDIT = {
  ProcessCreate: ['on', 'auditUnicast'],
  ConnectionCreate: ['on', 'auditUnicast'],
  Login: ['on', 'auditUnicast'],
  ProcessTerminate: ['on', 'procConnector'],
  ListeningPorts: ['on', 'sockDiag'],
} as const satisfies Record<string, Expected>;

/** Situations of every run: each source of the ladder once. */
const ALWAYS: readonly string[] = [
  'no audit',
  'neither audit nor the process connector',
  'no multicast of audit, beside auditd',
  'no native code',
  'an audit without rules for address families and io_uring',
];

describe('An agent without some kernel feature or privilege', function () {
  this.timeout(120_000);
  let underFilter: UnderFilter;
  let olderAudit: string;
  let connector: Connector;
  let control: AuditControl | undefined;
  let auditd: Auditd | undefined;
  let bed: TestBed | undefined;
  const children: ChildProcess[] = [];

  before(function () {
    require(this, process.getuid?.() === 0 ? undefined : 'only root can restrict the agent');
    require(this, UnderFilter.missing());
    underFilter = new UnderFilter();
    olderAudit = buildNative('older-audit', suiteFolder(), '-shared', '-fPIC');
    connector = new Connector();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await bed?.close();
    bed = undefined;
    await auditd?.remove();
    auditd = undefined;
    control?.close();
    control = undefined;
  });
  after(() => connector?.remove());

  const without = (...families: readonly number[]): Limitation => ({
    through: underFilter.by(withoutFamilies(...families)),
  });
  const withoutListening = ['setpriv', '--bounding-set=-audit_read'];
  /** Runs a shell command in a new mount namespace first. */
  const withMounts = (command: string) => ['unshare', '--mount', 'sh', '-ec', `${command}\nexec "$@"`, 'sh'];

  const situations: Readonly<Record<string, Situation>> = {
    'no audit': {
      limit: () => without(NETLINK_AUDIT),
      expected: {
        ProcessCreate: ['degraded', 'procConnector', NO_AUDIT],
        ProcessTerminate: ['on', 'procConnector'],
        ConnectionCreate: ['unavailable', undefined, NO_AUDIT],
      },
      audit: /can't be read: EPROTONOSUPPORT.*CONFIG_AUDIT/,
    },
    'neither audit nor the process connector': {
      limit: () => without(NETLINK_AUDIT, NETLINK_CONNECTOR),
      expected: {
        ProcessCreate: ['degraded', 'procPolling', NO_AUDIT],
        ProcessTerminate: ['unavailable', undefined, NO_CONNECTOR],
        ConnectionCreate: ['unavailable', undefined, NO_AUDIT],
      },
    },
    'no process connector': {
      limit: () => without(NETLINK_CONNECTOR),
      usesAudit: true,
      expected: { ...ALL_FROM_AUDIT, ProcessTerminate: ['unavailable', undefined, NO_CONNECTOR] },
      audit: /^on, the agent is its daemon/,
    },
    'no multicast of audit, and no other audit daemon': {
      limit: () => ({ through: withoutListening }),
      usesAudit: true,
      expected: ALL_FROM_AUDIT,
    },
    'no multicast of audit, beside auditd': {
      limit: () => ({
        through: [...withMounts(`mount --bind '${auditd?.root}/var/log/audit' /var/log/audit`), ...withoutListening],
      }),
      usesAudit: true,
      besideAuditd: true,
      expected: {
        ...ALL_FROM_AUDIT,
        ProcessCreate: ['degraded', 'auditLog', NO_LISTENING],
        ConnectionCreate: ['degraded', 'auditLog', NO_LISTENING],
        Login: ['degraded', 'auditLog', NO_LISTENING],
      },
      audit: /^on, its daemon is process \d+/,
    },
    "no multicast of audit, and no access to auditd's log": {
      limit: () => ({ through: [...withMounts('mount -t tmpfs tmpfs /var/log/audit'), ...withoutListening] }),
      usesAudit: true,
      besideAuditd: true,
      expected: {
        ProcessCreate: ['degraded', 'procConnector', NO_LISTENING],
        ConnectionCreate: ['unavailable', undefined, NO_LISTENING],
      },
    },
    'an audit without rules for address families and io_uring': {
      limit: () => ({ environment: { LD_PRELOAD: olderAudit } }),
      usesAudit: true,
      expected: ALL_FROM_AUDIT,
      async assertMore() {
        control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
        const agentRules = (await control.rules()).filter((rule) => rule.ours).map(({ data }) => data);
        assert.ok(agentRules.length > 3);
        // struct audit_rule_data: the list, two numbers, 64 words of calls, the fields.
        const fields = agentRules.flatMap((data) =>
          [...Array(readU32(data, 8)).keys()].map((at) => readU32(data, 268 + 4 * at)),
        );
        const [saddrFamily, uringExit] = [113, 7];
        assert.ok(!fields.includes(saddrFamily));
        assert.ok(agentRules.every((data) => readU32(data, 0) !== uringExit));
      },
    },
    'no sock_diag': {
      limit: () => without(NETLINK_SOCK_DIAG),
      usesAudit: true,
      expected: {
        ...ALL_FROM_AUDIT,
        ListeningPorts: ['degraded', 'procNet', /EPROTONOSUPPORT\. Check that the kernel has/],
      },
    },
    'neither nf_tables nor legacy iptables': {
      limit: () => ({
        through: ['unshare', '--net', ...underFilter.by(withoutFamilies(NETLINK_NETFILTER, NETLINK_AUDIT))],
      }),
      checkOnly: true,
      expected: {
        FirewallConfiguration: ['on', 'netlink'],
        ProcessTerminate: [
          'unavailable',
          undefined,
          /ECONNREFUSED.*Run it in the host's network namespace \(podman: --net=host\)/,
        ],
      },
    },
    'legacy iptables only': {
      limit: () => ({
        through: [
          ...['unshare', '--net', 'sh', '-ec', 'iptables-legacy -A INPUT -p tcp --dport 23 -j DROP\nexec "$@"', 'sh'],
          ...underFilter.by(withoutFamilies(NETLINK_NETFILTER, NETLINK_AUDIT)),
        ],
      }),
      checkOnly: true,
      expected: { FirewallConfiguration: ['on', 'netlink+iptables'] },
    },
    "a pid namespace that isn't the host's": {
      limit: () => ({ through: ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'] }),
      checkOnly: true,
      expected: {
        ProcessCreate: [
          'degraded',
          'procPolling',
          /denies this process access to audit records.*\(podman: --pid=host\)/,
        ],
        ProcessTerminate: ['unavailable', undefined, /process connector doesn't answer.*\(podman: --pid=host\)/],
      },
      audit: /can't be read: EPERM.*--pid=host/,
    },
    'no native code': {
      limit: () => ({ options: ['--require', withoutKoffi()] }),
      expected: {
        ProcessCreate: ['degraded', 'procPolling', NO_NATIVE_CODE],
        ProcessTerminate: ['unavailable', undefined, NO_NATIVE_CODE],
        ConnectionCreate: ['unavailable', undefined, NO_NATIVE_CODE],
        ListeningPorts: ['degraded', 'procNet', NO_NATIVE_CODE],
      },
      audit: NO_NATIVE_CODE,
    },
    'no login files and no audit': {
      limit: () => ({
        through: [
          ...withMounts(
            'mount -t tmpfs tmpfs /var/log; if [ -d /var/lib/wtmpdb ]; then mount -t tmpfs tmpfs /var/lib/wtmpdb; fi',
          ),
          ...underFilter.by(withoutFamilies(NETLINK_AUDIT)),
        ],
      }),
      expected: {
        Login: ['unavailable', undefined, /Logins can't be read.*\/var\/log\/wtmp: .*grant it CAP_AUDIT_CONTROL/],
      },
    },
    'wtmp as its only login file, and no audit': {
      limit: () => ({
        through: [
          ...withMounts(
            'mount -t tmpfs tmpfs /var/log; touch /var/log/wtmp; if [ -d /var/lib/wtmpdb ]; then mount -t tmpfs tmpfs /var/lib/wtmpdb; fi',
          ),
          ...underFilter.by(withoutFamilies(NETLINK_AUDIT)),
        ],
      }),
      expected: {
        Login: ['degraded', 'wtmp', /^Read from \/var\/log\/wtmp: .*refused logins are not seen \(\/var\/log\/btmp: /],
      },
    },
    'no system call newer than Linux 4.18': {
      limit: () => ({
        through: underFilter.by(['default allow', ...NEW_CALLS.map((call) => `errno ${call} ${ENOSYS}`)]),
      }),
      usesAudit: true,
      expected: ALL_FROM_AUDIT,
    },
  };

  for (const [name, situation] of Object.entries(situations)) {
    const { limit, usesAudit, besideAuditd, checkOnly, expected, audit, assertMore } = situation;
    it(`uses the best available sources with ${name}${release(!ALWAYS.includes(name))}`, async function () {
      if (usesAudit) require(this, await missingForAudit());
      if (besideAuditd) await startAuditd(this);
      const at = await open();
      const limitation = limit();
      const status = checkOnly ? undefined : await running(at, limitation, expected);
      for (const [collector, source] of Object.entries(expected)) {
        if (status !== undefined) assertReason(status.collectors[collector]?.reason, source, collector);
      }
      const findings = await check(at, limitation);
      for (const [collector, expectedSource] of Object.entries(expected)) {
        const { finding = '', remedy } = findings.find((each) => each.check === collector) ?? assert.fail(collector);
        const [state, source] = expectedSource;
        const found = finding.replace(/^\d+ elements? in \d+ ms, \d+ ms CPU time, /, '').replace(/ \(.*\)$/, '');
        assert.equal(found, source === undefined ? state : `${state}, from ${source}`, collector);
        assertReason(remedy, expectedSource, collector);
      }
      const auditFindings = findings.filter((each) => each.check === 'audit');
      if (audit !== undefined)
        assert.match(auditFindings.map(({ finding, remedy }) => `${finding} ${remedy}`)[0] ?? '', audit);
      await assertMore?.();
      if (status !== undefined) await assertEventsArrive(at, status);
      if (process.env.VAKT_PRINT_TABLE === '1') print(name, expected, findings);
    });
  }

  it('reports the container of a process with control groups of version 1 only', async function () {
    const id = '5d6d1f0c2b9a48e7a1c35fbb40d7e9f13c9f1e5ba7d24c8890aa6c0d3f7be241';
    const groups = new LegacyGroups();
    require(this, groups.missing);
    const group = groups.make(`docker/${id}`);
    const enter = (seconds: number) => ['-c', `echo $$ >'${group}/cgroup.procs'; exec sleep ${seconds}`];
    const inside: ChildProcess[] = [];
    // Without a container engine, the agent finds the first process of a container only in its scan once per minute.
    const earlier = spawn('/bin/sh', enter(600), { stdio: 'ignore' });
    try {
      await until('a process in the group', () => readFileSync(join(group, 'cgroup.procs'), 'utf8') !== '');
      const at = await open();
      const mounts = `mount -t tmpfs tmpfs /sys/fs/cgroup; mkdir /sys/fs/cgroup/systemd; ${groups.mountAt('/sys/fs/cgroup/systemd')}`;
      const limitation = { through: [...withMounts(mounts), ...underFilter.by(withoutFamilies(NETLINK_AUDIT))] };
      await running(at, limitation, { ProcessCreate: ['degraded', 'procConnector'] });
      inside.push(spawn('/bin/sh', enter(60), { stdio: 'ignore' }));
      children.push(spawn('/bin/sleep', ['61'], { stdio: 'ignore' }));
      const sleepOf = ([child]: readonly ChildProcess[]) =>
        at
          .elements('ProcessCreate')
          .find(
            ({ ProcessId, CommandLine }) =>
              ProcessId === child?.pid && /^(?:\/bin\/)?sleep 6\d$/.test(String(CommandLine)),
          );
      await at.waitForEvents(() => sleepOf(inside) !== undefined && sleepOf(children) !== undefined);
      const containerOf = (child: readonly ChildProcess[]) => detailsOf(sleepOf(child)).ContainerId;
      assert.deepEqual([containerOf(inside), containerOf(children)], [id, undefined]);
    } finally {
      for (const child of [earlier, ...inside]) child.kill('SIGKILL');
      await bed?.close();
      bed = undefined;
      await groups.remove();
    }
  });

  it('finds a system under a hostRoot that only its capabilities can open, such as /proc/1/root in a container', async () => {
    const hostRoot = temporaryFolder(); // only root can enter it
    for (const folder of ['etc', 'proc/self']) mkdirSync(join(hostRoot, folder), { recursive: true });
    writeFileSync(join(hostRoot, 'etc/passwd'), '');
    const at = await open();
    at.writeConfiguration({ hostRoot });
    const granted = '-all,+dac_read_search';
    const asUser = [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      `--inh-caps=${granted}`,
      `--ambient-caps=${granted}`,
    ];
    const findings = await check(at, { through: ['setpriv', ...asUser] });
    const container = findings.filter((each) => each.check === 'container').map(({ finding }) => finding);
    assert.ok(container.length > 0);
    assert.doesNotMatch(container.join(' '), /no system is mounted|without its submounts/);
  });

  const open = async (): Promise<TestBed> => {
    bed = await TestBed.open({ desired: { ...QUICK, snapshotFrequency: { value: 'PT2S' } } });
    bed.writeConfiguration({ collectors: { loopbackConnections: true } });
    return bed;
  };

  /** Starts an agent and returns its status once its sources are as expected. */
  const running = (
    at: TestBed,
    limitation: Limitation,
    expected: Readonly<Record<string, Expected>>,
  ): Promise<LocalStatus> =>
    at
      .startAgent(limitation)
      .waitForStatus(
        ({ collectors, configuration }) =>
          configuration.source === 'desired' &&
          Object.entries(expected).every(
            ([name, [state, source]]) => collectors[name]?.state === state && collectors[name]?.source === source,
          ),
      );

  /** Starts an auditd for the running test, which registers as the audit daemon. */
  const startAuditd = async (context: Mocha.Context) => {
    require(context, existsSync('/usr/sbin/auditd') ? undefined : 'auditd is not installed');
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    auditd = new Auditd(control, temporaryFolder());
    await auditd.start();
  };

  /** Runs `vakt check` under the same limitation. */
  const check = async (at: TestBed, limitation: Limitation): Promise<Finding[]> => {
    const { through = [], options = [], environment = {} } = limitation;
    const node = [process.execPath, ...nodeFlagsOf(PROGRAM), ...options, PROGRAM];
    const [program = '', ...args] = [
      ...through,
      ...node,
      'check',
      '--json',
      '--config',
      join(at.directory, 'agent.json'),
    ];
    const env = { ...process.env, ...environment };
    // Its exit status reports whether something must be fixed, which does not matter here.
    const { stdout } = await promisify(execFile)(program, args, { env, timeout: minutes(1) }).catch((error) => error);
    return String(stdout)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Finding);
  };

  const assertEventsArrive = async (at: TestBed, { collectors }: LocalStatus) => {
    const marker = `vakt-lesser-${process.pid}-${Math.round(systemClock.monotonic())}`;
    const child = spawn('/bin/sleep', ['60'], { argv0: marker, stdio: 'ignore' });
    children.push(child);
    const of = (name: string, pid: number | undefined) =>
      at.elements(name).filter(({ ProcessId }) => ProcessId === pid);
    await at.waitForEvents(() => of('ProcessCreate', child.pid).length > 0);
    assert.equal(of('ProcessCreate', child.pid)[0]?.CommandLine, `${marker} 60`);
    if (collectors.ConnectionCreate?.source !== undefined) {
      const made = await connector.make(3, ['tcp.v4'], { hold: true });
      await at.waitForEvents(() => of('ConnectionCreate', made.pid).length === made.ends.length);
      await made.release();
    }
    if (collectors.ListeningPorts?.source !== undefined) {
      const hubPort = () => at.elements('ListeningPorts').find(({ LocalPort }) => LocalPort === String(at.hub.port));
      await at.waitForEvents(() => hubPort() !== undefined);
      assert.equal(detailsOf(hubPort()).Pid, String(process.pid));
    }
    child.kill('SIGKILL');
    if (collectors.ProcessTerminate?.source !== undefined) {
      await at.waitForEvents(() => of('ProcessTerminate', child.pid).length > 0);
    }
  };
});

/** A cgroup hierarchy of version 1 without a controller, like systemd's, which contains every process of the machine. */
class LegacyGroups {
  readonly #name = `vakt-${process.pid}`;
  readonly #folder = temporaryFolder();
  readonly missing: string | undefined;
  readonly #made: string[] = [];

  constructor() {
    const { status, stderr } = spawnSync('sh', ['-c', this.mountAt(this.#folder)], { encoding: 'utf8' });
    this.missing = status === 0 ? undefined : `control groups of version 1 can't be mounted: ${stderr}`;
  }

  /** Returns the shell command that mounts the hierarchy. */
  mountAt(folder: string): string {
    return `mount -t cgroup -o none,name=${this.#name} cgroup '${folder}'`;
  }

  make(path: string): string {
    const parts = path.split('/');
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const folder = join(this.#folder, ...parts.slice(0, depth));
      mkdirSync(folder);
      this.#made.push(folder);
    }
    return join(this.#folder, path);
  }

  /** Call this once its processes have exited: the kernel removes a hierarchy that has no groups and is not mounted. */
  async remove(): Promise<void> {
    for (const folder of this.#made.reverse()) {
      await until(`${folder} to be empty`, () => {
        try {
          rmdirSync(folder);
          return true;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
          throw error;
        }
      });
    }
    if (this.missing === undefined) execFileSync('umount', [this.#folder]);
  }
}

const detailsOf = (element: Payload | undefined) => (element?.ExtraDetails ?? {}) as Readonly<Record<string, string>>;

function assertReason(reason: string | undefined, [state, , pattern]: Expected, name: string): void {
  if (pattern !== undefined) assert.match(reason ?? '', pattern, `${name}: ${reason}`);
  else if (state === 'on' && reason !== undefined) assert.match(reason, OLDER_PROCESSES, `${name}: ${reason}`);
}

/** Prints the findings, if VAKT_PRINT_TABLE=1. */
function print(situation: string, expected: Readonly<Record<string, Expected>>, findings: readonly Finding[]): void {
  for (const { check, finding, remedy = '' } of findings) {
    if (check in expected || check === 'audit') {
      process.stdout.write(`${situation} | ${check} | ${finding} | ${remedy}\n`);
    }
  }
}
