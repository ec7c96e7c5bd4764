import assert from 'node:assert/strict';
import { collectors } from '../../src/agent/collectors/index.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { minutes } from '../../src/core/base/duration.ts';
import type { Payload } from '../../src/core/contract/event.ts';
import { selfSigned } from '../../src/emulator/certificates.ts';
import { newKey } from '../agent/hub/support.ts';
import { ProvisioningBed } from '../agent/identity/provisioning-bed.ts';
import { suiteFolder } from '../harness/folders.ts';
import { assertClosed, DEVICE, MODULE, OBJECT } from '../integration/test-bed.ts';
import { type Call32, elf32 } from '../system/elf32.ts';
import { BOARDS } from './architectures.ts';
import { Board } from './board.ts';
import { figures } from './figures.ts';
import { HOST_ADDRESS } from './image.ts';
import { DESIRED, InstalledAgent } from './installed-agent.ts';

const NAME = process.env.VAKT_BOARD ?? 'amd64';
const architecture = Object.values(BOARDS).find(({ name }) => name === NAME) ?? assert.fail(`no board ${NAME}`);

/** A program of every board that starts quickly. */
const BUSYBOX = '/usr/bin/busybox';
const PERIODIC = collectors.filter(({ category }) => category === 'Periodic').map(({ name }) => name);
/** The port of a simulated backdoor. */
const PORT = '4444';

/** Settings in the output of auditctl(8) that the agent changes and must restore. */
const SETTINGS = /^(?:enabled|failure|backlog_limit|backlog_wait_time) .*$/gm;

describe(`Vakt on an emulated ${NAME} board`, function () {
  this.timeout(minutes(10));
  const began = systemClock.monotonic();
  let board: Board;
  let agent: InstalledAgent;
  let settingsAtFirst: string[];

  const print = (line: string) => process.stdout.write(`    ${line}\n`);
  const settings = async () => (await board.must(['auditctl', '-s'])).match(SETTINGS) ?? [];
  const since = () => `${((systemClock.monotonic() - began) / 60_000).toFixed(1)} min`;

  before(async function () {
    this.timeout(minutes(25));
    const image = Board.make(architecture, process.env.VAKT_BOARD_IMAGES || suiteFolder(), print);
    print(`${since()}: has an image`);
    board = await Board.boot(image, architecture);
    print(`${since()}: booted within ${board.bootTook / 1_000} s: ${(await board.must(['uname', '-srm'])).trim()}`);
    settingsAtFirst = await settings();
    agent = await InstalledAgent.install(board, architecture);
    print(`${since()}: installed; ready ${await agent.start()} s after its start`);
    await agent.waitForStatus(
      'a snapshot of every Periodic collector',
      (status) =>
        status.configuration.desiredVersion === 2 && PERIODIC.every((name) => status.collectors[name]?.lastRunAt),
    );
    // The kernel does not report processes older than the first enabling of audit; the restarted server is newer.
    await board.must(['systemctl', 'restart', 'ssh']);
    // Listing sockets may use a fiftieth of the CPU time, here every few minutes: a test at the end waits for its alert.
    await board.must(['systemd-run', '-q', BUSYBOX, 'nc', '-l', '-p', PORT]);
  });

  after(async () => {
    try {
      if (board !== undefined && agent !== undefined) print(`${since()}: done`);
      await agent?.bed.close();
    } finally {
      await board?.end();
    }
  });

  afterEach(async function () {
    if (this.currentTest?.state !== 'failed' || agent === undefined) return;
    // Printed immediately, since a killed run never prints its list of failures.
    process.stdout.write(`${this.currentTest.err?.stack}\n`);
    process.stdout.write(`${await agent.log().catch(String)}\n${board.console.slice(-1_000)}\n`);
  });

  let marks = 0;
  /** Returns a word that occurs only in the arguments of one test's programs. */
  const newMark = () => {
    marks += 1;
    return `mark${marks}`;
  };
  /** Starts of programs with this word among their arguments. */
  const startsWith = (mark: string): Payload[] =>
    agent.elements('ProcessCreate').filter(({ CommandLine }) => String(CommandLine).split(' ').includes(mark));
  /** Numbers after the word in the arguments of programs that `startMany` started. */
  const numbersOf = (mark: string): number[] =>
    startsWith(mark)
      .filter(({ CommandLine }) => String(CommandLine).startsWith(`${BUSYBOX} true `))
      .map(({ CommandLine }) => Number(String(CommandLine).split(' ').at(-1)))
      .sort((a, b) => a - b);
  const startMany = (mark: string, count: number) =>
    board.script(`i=0; while [ $i -lt "$2" ]; do ${BUSYBOX} true "$1" $i; i=$((i+1)); done`, mark, String(count));
  const lost = async () => (await agent.status()).delivery.dropped.kernel ?? 0;
  const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);
  /** Lists the numbers of missing starts. */
  const missingOf = (mark: string, count: number): string => {
    const seen = new Set(numbersOf(mark));
    return `missing: ${upTo(count)
      .filter((number) => !seen.has(number))
      .join(' ')}`;
  };

  it('has every collector on, and reads starts as the audit daemon', async () => {
    // On a loaded machine, a snapshot may be late.
    const status = await agent.waitForStatus('every collector on', ({ collectors: states }) =>
      collectors.every(({ name }) => states[name]?.state === 'on'),
    );
    assert.equal(status.collectors.ProcessCreate?.source, 'auditUnicast');
    assert.equal(status.collectors.ConnectionCreate?.source, 'auditUnicast');
  });

  it('passes vakt check', async () => {
    const { status, output } = await board.run(['vakt', 'check']);
    assert.equal(status, 0, output);
    assert.match(output, /Nothing needs fixing\./);
    assert.doesNotMatch(output, /^WRONG/m);
    assert.match(output, /^OK +code cache/m); // created by the installation
  });

  it('has five times the CPU weight of other services', async () => {
    const { output } = await board.run(['cat', '/sys/fs/cgroup/system.slice/vakt.service/cpu.weight']);
    assert.equal(output.trim(), '500');
  });

  it('reports each of 200 starts and exits', async () => {
    const mark = newMark();
    await startMany(mark, 200);
    await agent.until(
      '200 starts',
      () => numbersOf(mark).length >= 200,
      () => missingOf(mark, 200),
    );
    assert.deepEqual(numbersOf(mark), upTo(200));
    const pids = startsWith(mark)
      .filter(({ Executable, CommandLine }) => Executable === BUSYBOX && String(CommandLine).includes(' true '))
      .map(({ ProcessId }) => ProcessId);
    const ends = () =>
      agent
        .elements('ProcessTerminate')
        .filter(({ ProcessId, Executable }) => Executable === BUSYBOX && pids.includes(ProcessId));
    await agent.until(
      '200 ends',
      () => ends().length >= 200,
      () => ends().length,
    );
    assert.deepEqual(new Set(ends().map(({ ExitStatus }) => ExitStatus)), new Set([0]));
    assert.equal(ends().length, 200);
  });

  it('reports each of a burst of 1,000 starts', async () => {
    const [mark, before] = [newMark(), await lost()];
    await startMany(mark, 1_000);
    await agent.until(
      '1,000 starts',
      () => numbersOf(mark).length >= 1_000,
      () => missingOf(mark, 1_000),
    );
    assert.deepEqual(numbersOf(mark), upTo(1_000));
    assert.equal(await lost(), before);
  });

  it('reports exit statuses and signals', async () => {
    const mark = newMark();
    const ends = { 'exit 7': 7, 'exit 255': 255, 'kill -KILL $$': 137, 'kill -TERM $$': 143, 'kill -SEGV $$': 139 };
    for (const script of Object.keys(ends)) await board.run([BUSYBOX, 'sh', '-c', script, mark]);
    const start = (script: string) =>
      agent.elements('ProcessCreate').find(({ CommandLine }) => CommandLine === `${BUSYBOX} sh -c ${script} ${mark}`);
    const end = (script: string) =>
      agent.elements('ProcessTerminate').find(({ ProcessId }) => ProcessId === start(script)?.ProcessId);
    const seen = () => Object.fromEntries(Object.keys(ends).map((script) => [script, end(script)?.ExitStatus]));
    await agent.until('all ends', () => Object.keys(ends).every((script) => end(script) !== undefined), seen);
    assert.deepEqual(seen(), ends);
  });

  it('reports outbound and inbound connections by IPv4 and IPv6', async () => {
    for (const address of ['127.0.0.1', '::1']) {
      const mark = newMark();
      const before = agent.elements('ConnectionCreate').length;
      await board.must(['bash', '-c', `exec 3<>/dev/tcp/${address}/22; read -r line <&3`, mark]);
      const about = () =>
        agent
          .elements('ConnectionCreate')
          .slice(before)
          .filter(({ RemoteAddress }) => RemoteAddress === address);
      const out = () =>
        about().find(({ Direction, CommandLine }) => Direction === 'Out' && String(CommandLine).endsWith(` ${mark}`));
      const into = () =>
        about().find(({ Direction, Executable }) => Direction === 'In' && Executable === '/usr/sbin/sshd');
      await agent.until(`both ends of ${address}`, () => out() !== undefined && into() !== undefined, about);
      assert.deepEqual([out()?.Protocol, out()?.RemotePort, out()?.Executable], ['TCP', '22', '/usr/bin/bash']);
      assert.deepEqual([into()?.Protocol, into()?.LocalPort], ['TCP', '22']);
    }
  });

  it('reports a connection to another machine', async () => {
    const mark = newMark();
    const { port } = agent.bed.hub;
    await board.must(['bash', '-c', `exec 3<>/dev/tcp/${HOST_ADDRESS}/${port}`, mark]);
    const out = () =>
      agent.elements('ConnectionCreate').find(({ CommandLine }) => String(CommandLine).endsWith(` ${mark}`));
    await agent.until('the connection', () => out() !== undefined);
    assert.deepEqual([out()?.RemoteAddress, out()?.RemotePort], [HOST_ADDRESS, String(port)]);
  });

  const { programs32 } = architecture;
  if (programs32 !== undefined) {
    it('reports starts and connections by 32-bit programs', async () => {
      const mark = newMark();
      const text = (value: string) => Buffer.from(`${value}\0`);
      const peer = Buffer.alloc(16);
      peer.writeUInt8(2);
      peer.writeUInt16BE(22, 2);
      peer.writeUInt32BE(0x7f00_0001, 4);
      const [socket, connect] = programs32 === 'arm' ? [281, 283] : [359, 362];
      const [exit, execve] = [1, 11];
      const calls: Call32[] = [
        [socket, 2, 1, 0], // returns 3, the first free descriptor
        [connect, 3, peer, 16],
        [execve, text(BUSYBOX), [text(BUSYBOX), text('true'), text(mark), 0], [0]],
        [exit, 1],
      ];
      await board.copy(elf32(calls, programs32), '/root/program32', 0o755);
      await board.must(['/root/program32', mark]);
      const starts = () => startsWith(mark).filter(({ CommandLine }) => !String(CommandLine).includes('-c'));
      const connection = () =>
        agent.elements('ConnectionCreate').find(({ Executable }) => Executable === '/root/program32');
      const seen = () => [...starts(), connection()];
      await agent.until('both', () => starts().length >= 2 && connection() !== undefined, seen);
      assert.deepEqual(
        starts().map(({ Executable, CommandLine }) => [Executable, CommandLine]),
        [
          ['/root/program32', `/root/program32 ${mark}`],
          [BUSYBOX, `${BUSYBOX} true ${mark}`],
        ],
      );
      const { RemoteAddress, RemotePort, Direction } = connection() ?? {};
      assert.deepEqual([RemoteAddress, RemotePort, Direction], ['127.0.0.1', '22', 'Out']);
    });
  }

  it('reports refused and accepted logins at sshd with their address', async () => {
    await board.script('useradd --create-home --shell /bin/bash pilot; echo pilot:correct-horse | chpasswd');
    const logins = () => agent.elements('Login').filter(({ UserName }) => UserName === 'pilot');
    const refused = await board.login('pilot', 'wrong', 'true');
    assert.notEqual(refused.status, 0);
    const accepted = await board.login('pilot', 'correct-horse', 'id -un');
    assert.deepEqual(accepted, { status: 0, output: 'pilot\n' });
    const of = (result: string) => logins().find(({ Result }) => Result === result);
    await agent.until('both logins', () => of('Fail') !== undefined && of('Success') !== undefined, logins);
    for (const result of ['Fail', 'Success'])
      assert.equal(of(result)?.RemoteAddress, HOST_ADDRESS, JSON.stringify(logins()));
    assert.equal(of('Success')?.Operation, 'Login');
    const into = () =>
      agent
        .elements('ConnectionCreate')
        .filter(({ Direction, RemoteAddress }) => Direction === 'In' && RemoteAddress === HOST_ADDRESS);
    await agent.until('its connection', () => into().length > 0);
    assert.deepEqual([into()[0]?.LocalPort, into()[0]?.Executable], ['22', '/usr/sbin/sshd']);
  });

  it('sends every snapshot', async () => {
    await agent.until(
      'all snapshots',
      () => PERIODIC.every((name) => agent.events(name).length > 0),
      () => PERIODIC.filter((name) => agent.events(name).length === 0),
    );
    const [system] = agent.elements('SystemInformation');
    assert.equal(system?.OSName, 'Debian GNU/Linux');
    assert.equal(system?.OsArchitecture, (await board.must(['uname', '-m'])).trim());
    if (NAME !== 'amd64') {
      const details = system?.ExtraDetails as Payload;
      assert.equal(details.Firmware, 'device tree', JSON.stringify(details));
      assert.equal(details.MachineModel, 'linux,dummy-virt', JSON.stringify(details));
    }
    assert.ok(
      agent.elements('ListeningPorts').some(({ LocalPort, Protocol }) => LocalPort === '22' && Protocol === 'tcp'),
    );
    assert.ok(agent.elements('LocalUsers').some(({ UserName }) => UserName === 'vakt'));
    assert.ok(agent.elements('ConnectedHardware').some(({ HardwareCategory }) => HardwareCategory === 'Block'));
    assert.ok(agent.elements('OSBaseline').length > 0);
  });

  it('raises one alert for each of five simulated attacks', async () => {
    const mark = newMark();
    const shell = `: ${mark}; bash -i >& /dev/tcp/127.0.0.1/1 0>&1`;
    const attacks: Readonly<Record<string, string>> = {
      IoT_ReverseShell: `bash -c '${shell}' || true`,
      IoT_CryptoMiner: `cp /usr/bin/true /root/xmrig; /root/xmrig -o stratum+tcp://127.0.0.1:1 -u ${mark} --donate-level=1`,
      IoT_RemovelOfSystemLogs: `mkdir -p /root/${mark}/var/log; truncate -s 0 /root/${mark}/var/log/auth.log`,
      IoT_LinuxBackdoor: `install -D -m 4755 /usr/bin/true /tmp/${mark}/sh`,
      VAKT_UserAdded: `useradd --no-create-home --shell /bin/bash ${mark}`,
    };
    const alerts = () => agent.elements('SecurityAlert');
    const isExpected = (type: string) => (alert: Payload) =>
      alert.AlertType === type && JSON.stringify(alert).includes(mark);
    for (const [type, script] of Object.entries(attacks)) {
      await board.copy(script, '/root/attack'); // in arguments of a shell, it would also be an attack by that shell
      await board.must(['sh', '/root/attack']);
      await agent.until(`the alert ${type}`, () => alerts().some(isExpected(type)), alerts);
    }
    for (const type of Object.keys(attacks)) assert.equal(alerts().filter(isExpected(type)).length, 1, type);
  });

  it('counts the events that the kernel lost while it was stopped with a small backlog', async () => {
    // Connections fill the agent's receive buffer in a minute or two; starts would take many minutes.
    const [CONNECTIONS, STARTS] = [16_000, 200];
    const flood =
      'i=0; while [ $i -lt "$1" ] && [ $SECONDS -lt 180 ]; do exec 3<>/dev/udp/127.0.0.1/9; i=$((i+1)); done; echo $i';
    const mark = newMark();
    const forks = async () => Number(/^processes (\d+)$/m.exec(await board.must(['cat', '/proc/stat']))?.[1]);
    const [forksBefore, before] = [await forks(), await lost()];
    const pid = await agent.pid();
    await board.must(['auditctl', '-b', '64']);
    await board.must(['kill', '-STOP', pid]);
    let connections = 0;
    try {
      connections = Number(await board.must(['bash', '-c', flood, 'bash', String(CONNECTIONS)]));
      await startMany(mark, STARTS);
    } finally {
      await board.run(['kill', '-CONT', pid]);
      await board.run(['auditctl', '-b', '8192']);
    }
    const forked = (await forks()) - forksBefore;
    let counted = 0;
    await agent.waitForStatus('all accounted for', ({ delivery }) => {
      counted = (delivery.dropped.kernel ?? 0) - before;
      return counted > 0 && numbersOf(mark).length + counted >= STARTS && delivery.queued.highEvents < 100;
    });
    const seen = numbersOf(mark);
    print(`  ${seen.length} of ${STARTS} starts were sent; ${counted} events were counted as lost`);
    assert.equal(new Set(seen).size, seen.length, 'a start was sent twice');
    assert.ok(seen.length < STARTS, 'nothing was lost');
    // Per process, a start and an exit can be lost; per connection, the calls of socket and connect.
    const most = 2 * (forked + connections) + 200;
    assert.ok(counted <= most, `${counted} were counted, but ${most} can have been lost at most`);
    assert.equal(await agent.pid(), pid);
  });

  it('raises an alert for the port that was opened at the beginning', async () => {
    const alerts = () => agent.elements('SecurityAlert').filter(({ LocalPort }) => LocalPort === PORT);
    await agent.until(
      'the alert',
      () => alerts().length > 0,
      () => agent.elements('SecurityAlert'),
    );
    assert.deepEqual(
      alerts().map(({ AlertType, Protocol }) => [AlertType, Protocol]),
      [['VAKT_NewListeningPort', 'tcp6']],
    );
  });

  it('has balanced accounts, and restores audit when it is stopped', async () => {
    assertClosed(await agent.status());
    await agent.stop();
    assert.deepEqual(await settings(), settingsAtFirst);
    assert.match(await board.must(['auditctl', '-l']), /^No rules$/m);
  });

  it('connects by a certificate', async () => {
    const { hub } = agent.bed;
    const certificate = await selfSigned({ commonName: `${DEVICE}/${MODULE}` });
    hub.addModule({
      deviceId: DEVICE,
      moduleId: MODULE,
      credential: { type: 'selfSigned', primaryThumbprint: certificate.thumbprint },
    });
    await board.copy(certificate.chainPem, '/etc/vakt/module.pem');
    await board.copy(certificate.keyPem, '/etc/vakt/secrets/module.pem.key', 0o600);
    const files = { certificateFile: 'module.pem', keyFile: 'secrets/module.pem.key' };
    await agent.configure({ kind: 'moduleCertificate', deviceId: DEVICE, moduleId: MODULE, ...files });
    const before = hub.messages.length;
    await agent.start();
    await hub.waitForConnection(
      ({ admitted, thumbprint }) => admitted && thumbprint === certificate.thumbprint,
      minutes(2),
    );
    await agent.until('a message', () => hub.messages.length > before);
    assert.equal((await agent.status()).credential.kind, 'moduleCertificate');
  });

  it('connects to the hub that the provisioning service assigns', async () => {
    const [key, registrationId, deviceId] = [newKey(), 'board7', 'device7'];
    const services = await ProvisioningBed.open({ individuals: [{ registrationId, deviceId, primaryKey: key }] });
    try {
      agent.bed.otherHubs.push(...services.hubs); // for the chain of its messages
      await board.copy(services.caPem, '/etc/vakt/provisioning-ca.pem');
      await board.copy(`${key}\n`, '/etc/vakt/secrets/device.key', 0o600);
      await agent.configure(
        { kind: 'provisioning', idScope: services.service.idScope, registrationId, keyFile: 'secrets/device.key' },
        { trustedCaFile: 'provisioning-ca.pem', proxy: `http://${HOST_ADDRESS}:${services.proxy.port}` },
      );
      await agent.start();
      const hub = () => services.hubs.find((hub) => hub.hasModule(deviceId, MODULE));
      await agent.until('its module', () => hub() !== undefined);
      hub()?.patchDesired(deviceId, MODULE, { [OBJECT]: DESIRED }); // with the empty twin of a new module, messages are rare
      await agent.until('a message at the hub that it was assigned', () => (hub()?.messages.length ?? 0) > 0);
      assert.equal(services.registrations, 1);
      await agent.stop();
    } finally {
      await services.close();
    }
  });

  it('neither loses nor repeats a start when it is restarted alongside auditd under load', async function () {
    this.timeout(minutes(20));
    const { hub, key } = agent.bed;
    hub.addModule({ deviceId: DEVICE, moduleId: MODULE, primaryKey: key });
    await agent.configure({ kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'secrets/module.key' });
    await board.must(['systemctl', 'start', 'auditd']);
    try {
      await agent.start();
      const usesMulticast = ({ collectors }: Awaited<ReturnType<InstalledAgent['status']>>) =>
        collectors.ProcessCreate?.source === 'auditMulticast';
      const before = await agent.waitForStatus('audit by multicast', usesMulticast);
      const mark = newMark();
      const once = `echo $i >/run/next; ${BUSYBOX} true ${mark} $i; i=$((i+1)); sleep 0.2`;
      const loop = `i=0; while [ ! -e /run/enough ]; do ${once}; done; echo $i >/run/started`;
      await board.must(['systemd-run', '-q', '--unit=load', '-p', 'CPUWeight=20', 'sh', '-c', loop]);
      const next = async () => Number(await board.must(['cat', '/run/next']));
      const more = (condition: string, seen: number) =>
        agent.until(
          condition,
          () => numbersOf(mark).length >= seen + 50,
          () => numbersOf(mark).length,
        );
      await more('the load', 0);
      let seen = numbersOf(mark).length;
      // A stopped service removes its audit rules, so neither it nor auditd sees starts until it is ready again. After kill -9, the
      // rules still exist, and auditd's log has all starts.
      const stoppedFrom = await next();
      await board.must(['systemctl', 'restart', 'vakt']);
      const stoppedUntil = await next();
      await more('more after the restart', seen);
      seen = numbersOf(mark).length;
      await board.must(['systemctl', 'kill', '--signal=KILL', 'vakt']);
      await more('more after the kill', seen);
      await board.script('touch /run/enough; while [ ! -s /run/started ]; do sleep 0.2; done');
      const started = Number(await board.must(['cat', '/run/started']));
      const missing = () => {
        const came = new Set(numbersOf(mark));
        return upTo(started).filter((at) => !came.has(at) && (at < stoppedFrom || at > stoppedUntil));
      };
      const sumOf = (counts: Readonly<Record<string, number | undefined>>) =>
        Object.values(counts).reduce<number>((sum, count) => sum + (count ?? 0), 0);
      const namedIn = ({ delivery }: Awaited<ReturnType<InstalledAgent['status']>>) =>
        sumOf(delivery.dropped) - sumOf(before.delivery.dropped);
      // Events from auditd's log are read in parallel with live ones, and may arrive later.
      const after = await agent.waitForStatus(
        () => `every start; missing: ${missing().join(' ')}`,
        (status) => missing().length <= namedIn(status),
      );
      const numbers = numbersOf(mark);
      print(
        `  ${started} starts, ${stoppedUntil - stoppedFrom} of them while the service was stopped, including a kill:`,
      );
      print(`  ${numbers.length} sent, ${missing().length} missing, ${namedIn(after)} events counted as lost`);
      assert.equal(new Set(numbers).size, numbers.length, 'a start was sent twice');
      assertClosed(after);
    } finally {
      await board.run(['systemctl', 'stop', 'load']);
      await board.run(['systemctl', 'kill', 'auditd']); // its unit rejects a manual stop
    }
  });

  if (process.env.VAKT_BOARD_FIGURES === '1') {
    it('has its start, memory and idle CPU measured', async () => {
      for (const line of await figures(board, agent)) print(line);
    }).timeout(minutes(15));
  }
});
