import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { shippedNode } from '../../scripts/shipped-node.ts';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, seconds } from '../../src/core/base/duration.ts';
import { TOP } from '../harness/top.ts';
import { BootedSystem } from './booted-system.ts';

const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';
const CONTROL = 'http://127.0.0.1:8899';

const CONFIGURATION = {
  hub: { hostName: 'emulator.azure-devices.net', gatewayHostName: 'localhost:8883', trustedCaFile: 'ca.pem' },
  identity: { kind: 'moduleKey', deviceId: 'device1', keyFile: 'secrets/module.key' },
};

/** Writes the Node of vakt-with-node, which runs the emulator in a system without Node. */
function writeNode(): void {
  const shipped = shippedNode('amd64', `${TOP}build/node`);
  assert.ok(shipped !== undefined);
  writeFileSync(`${TOP}build/node/node`, shipped.binary, { mode: 0o755 });
}

interface Installation {
  /** The Debian suite; `VAKT_SUITE` names another. */
  readonly suite: string;
  /** Whether the system has its own Node that is new enough. */
  readonly hasNode: boolean;
  install(system: BootedSystem): void;
  upgrade(system: BootedSystem): void;
  /** Removes all files and accounts of the installation. */
  purge(system: BootedSystem): void;
  /** Packages that replace each other. */
  readonly exchange?: readonly (() => string)[];
  /** The Debian package and its name. */
  readonly from?: { readonly deb: () => string; readonly name: string };
}

const built = (name: RegExp) => {
  const file = readdirSync(`${TOP}build`).find((entry) => name.test(entry));
  assert.ok(file !== undefined, `build/ has no ${name}: npm run package -- amd64`);
  return `/clone/build/${file}`;
};
const DEB = () => built(/^vakt_.*_amd64\.deb$/);
const DEB_WITH_NODE = () => built(/^vakt-with-node_.*_amd64\.deb$/);
const TARBALL = () => built(/^vakt-.*-linux-amd64\.tar\.gz$/);

/** An installation from a Debian package, which an operator configures by hand. */
const debian = (deb: () => string, name: string): Omit<Installation, 'suite' | 'hasNode'> => ({
  install(system) {
    system.must('dpkg', '--install', deb());
    assert.equal(system.run('systemctl', 'is-active', 'vakt').output.trim(), 'inactive'); // not configured yet
    system.must('sh', '-c', 'printf %s "$1" >/etc/vakt/agent.json', 'sh', JSON.stringify(CONFIGURATION));
    system.must('cp', '/run/emulator/ca.pem', '/etc/vakt/ca.pem');
    system.must('install', '-m', '0600', '/run/emulator/module.key', '/etc/vakt/secrets/module.key');
    system.must('systemctl', 'enable', '--now', 'vakt');
  },
  upgrade: (system) => void system.must('dpkg', '--install', deb()),
  purge: (system) => void system.must('dpkg', '--purge', name),
  from: { deb, name },
});

/** All kinds of installation, each with the same result. */
const INSTALLATIONS: Readonly<Record<string, Installation>> = {
  'from the .deb': { suite: 'trixie', hasNode: true, exchange: [DEB_WITH_NODE, DEB], ...debian(DEB, 'vakt') },
  // Debian 12's nodejs is 18: too old, and not installed here.
  'from the .deb with its own Node': { suite: 'bookworm', hasNode: false, ...debian(DEB_WITH_NODE, 'vakt-with-node') },
  'by the script': {
    suite: 'trixie',
    hasNode: true,
    install(system) {
      system.must('tar', '-C', '/root', '-xzf', TARBALL());
      const { hub, identity } = CONFIGURATION;
      const which = [
        '--host-name',
        hub.hostName,
        '--device-id',
        identity.deviceId,
        '--gateway-host-name',
        hub.gatewayHostName,
      ];
      const files = ['--key-file', '/run/emulator/module.key', '--trusted-ca-file', '/run/emulator/ca.pem'];
      system.must('sh', '-c', '/root/vakt-*/scripts/install "$@"', 'sh', ...which, ...files);
    },
    upgrade: (system) => void system.must('sh', '-c', '/root/vakt-*/scripts/install'),
    purge(system) {
      system.must('/usr/lib/vakt/scripts/uninstall', '--purge');
      system.must('sh', '-c', 'rm -r /root/vakt-*');
    },
  },
};

/** Messages every second and without a limit, so that tests need not wait. */
const QUICK_LIMITS = [
  'Environment=VAKT_LIMITS__SHORTEST_MESSAGE_FREQUENCY=PT1S',
  'VAKT_LIMITS__SHORTEST_SNAPSHOT_FREQUENCY=PT1S',
  'VAKT_LIMITS__MESSAGE_UNITS_PER_DAY=0',
].join(' ');

for (const [kind, installation] of Object.entries(INSTALLATIONS)) {
  const { hasNode, install, upgrade, purge, exchange, from } = installation;
  const suite = process.env.VAKT_SUITE ?? installation.suite;
  const tree = `${TOP}build/installed/${suite}${hasNode ? '' : '-without-node'}`;
  /** Runs the emulator and its clients. */
  const node = hasNode ? 'node' : '/clone/build/node/node';

  describe(`Vakt, installed ${kind} in a booted ${suite}`, function () {
    this.timeout(600_000); // on a loaded machine; each wait has its own limit
    this.bail(true); // each step needs the state of the last one
    let system: BootedSystem;
    let filesBefore: string[];
    let accountsBefore: string;

    before(async function () {
      this.timeout(900_000); // a loaded machine takes long to create the tree
      if (!hasNode) writeNode();
      BootedSystem.make(tree, suite, hasNode ? ['nodejs'] : []);
      system = await BootedSystem.boot(tree, { '/clone': TOP });
      filesBefore = files();
      accountsBefore = accounts();
      setting('');
      const hub = ['--directory', '/run/emulator', '--port', '8883', '--control-port', '8899'];
      system.must('systemd-run', '-q', '--unit=emulator', node, '/clone/dist/src/main.js', 'emulator', ...hub);
      await system.until(
        'an emulator',
        seconds(20),
        () => system.run('test', '-s', '/run/emulator/agent.json').status === 0,
      );
      const quick = { highPriorityMessageFrequency: { value: 'PT1S' }, lowPriorityMessageFrequency: { value: 'PT1S' } };
      ask('PATCH', '/twins/device1/azureiotsecurity/desired', {
        [OBJECT]: { ...quick, snapshotFrequency: { value: 'PT5S' } },
      });
    });
    after(() => system?.end());

    /** All persistent files, except logs and the package manager's own files. */
    const files = () =>
      system
        .must('find', '/', '-xdev', '-path', '/clone', '-prune', '-o', '-print')
        .split('\n')
        .filter((path) => !/^\/(?:proc|sys|dev|run|tmp|var\/(?:tmp|log|cache|lib\/(?:apt|dpkg|systemd)))\//.test(path))
        .filter((path) => !/^\/etc\/(?:\.pwd\.lock|(?:passwd|group|shadow|gshadow|subuid|subgid)-)$/.test(path))
        .sort();
    const accounts = () => system.must('cat', '/etc/passwd', '/etc/group');
    const ask = (method: string, path: string, body?: object): unknown => {
      const authorization = `Bearer ${system.must('cat', '/run/emulator/control.token').trim()}`;
      const sent = body === undefined ? {} : { body: JSON.stringify(body) };
      const init = JSON.stringify({ method, headers: { authorization }, ...sent });
      const text = `fetch('${CONTROL}${path}', ${init}).then((answer) => answer.text()).then(console.log)`;
      return JSON.parse(system.must(node, '-e', text) || 'null');
    };
    const shown = (property: string) => system.must('systemctl', 'show', '-P', property, 'vakt').trim();
    const status = () => JSON.parse(system.run('vakt', 'status', '--json').output) as LocalStatus;
    const isUp = () => shown('ActiveState') === 'active';
    /** The exit status of vakt status does not show it: the agent is always degraded here, since a container has no audit. */
    const isAnswering = () => system.run('vakt', 'status', '--json').output.startsWith('{');
    const messages = () => (ask('GET', '/messages') as { messages: { body: string }[] }).messages;
    const untilMessage = async (limit: Duration) => {
      const before = messages().length;
      return system.until('a new message at the hub', limit, () => messages().length > before);
    };
    const setting = (text: string) => {
      system.must('mkdir', '-p', '/etc/systemd/system/vakt.service.d');
      system.must(
        'sh',
        '-c',
        'printf "%s" "$1" >/etc/systemd/system/vakt.service.d/test.conf',
        'sh',
        `[Service]\n${QUICK_LIMITS}\n${text}\n`,
      );
      system.must('systemctl', 'daemon-reload');
    };

    if (!hasNode) {
      it('is named by apt where the distribution has no Node that is new enough', () => {
        const refusal = system.run('apt-get', '-y', 'install', DEB());
        assert.notEqual(refusal.status, 0, refusal.output);
        assert.match(refusal.output, /Depends: nodejs \(>= 20\.15\).* or\s+vakt-with-node/);
      });
    }

    it('runs as a service with its own user and five capabilities', async () => {
      install(system);
      await system.until('up', seconds(30), isUp);
      const process = system.must('cat', `/proc/${shown('MainPID')}/status`);
      const user = system.must('id', '-u', 'vakt').trim();
      assert.match(process, new RegExp(`^Uid:\\s+${user}\\s+${user}\\s`, 'm'));
      assert.match(process, /^NoNewPrivs:\s+1$/m);
      assert.match(process, /^Seccomp:\s+2$/m);
      // Bits 30, 19, 12 and 2; systemd-nspawn cannot grant AUDIT_READ, bit 37.
      assert.match(process, /^CapEff:\s+0000000040081004$/m);
    });

    it('cannot make system calls that access other processes, except without its filter', async () => {
      const outcomes = (filter: string) => {
        setting(
          `${filter}ExecStartPre=${hasNode ? '/usr/bin/node' : '/usr/lib/vakt/node'} /clone/test/installed/forbidden-calls.mjs /var/lib/vakt/calls.json`,
        );
        system.must('systemctl', 'restart', 'vakt');
        return JSON.parse(system.must('cat', '/var/lib/vakt/calls.json')) as Record<string, number | string>;
      };
      const [EPERM, ENOSYS] = [1, 38];
      const rejected = Object.entries(outcomes(''));
      assert.ok(rejected.length > 15);
      assert.deepEqual(
        rejected.filter(([, errno]) => errno !== EPERM),
        [],
      );
      // The arguments are invalid: EFAULT, EINVAL or ESRCH prove that the kernel checked them.
      const { process_vm_writev: write, ptrace, kcmp } = outcomes('SystemCallFilter=\nSystemCallFilter=~@swap\n');
      for (const errno of [write, ptrace, kcmp]) assert.ok(errno !== EPERM && errno !== ENOSYS, `${errno}`);
      system.must('rm', '/var/lib/vakt/calls.json');
      setting('');
      system.must('systemctl', 'restart', 'vakt');
      await system.until('up', seconds(30), isUp);
    });

    it('starts from the code cache of the installation, which only root can write', () => {
      assert.match(system.run('vakt', 'check').output, /^OK +code cache/m);
      assert.equal(system.must('stat', '-c', '%U %a', '/usr/lib/vakt/program.cache'), 'root 644\n');
    });

    it('shows its connection and its counts in systemctl status', async () => {
      await system.until('connected', seconds(30), () =>
        /, connected to the hub; \d+ events queued, \d+ dropped\.$/.test(shown('StatusText')),
      );
    });

    it('sends events that it can collect only with its capabilities', async () => {
      await untilMessage(seconds(30));
      const { collectors } = status();
      for (const name of ['ListeningPorts', 'LocalUsers', 'FirewallConfiguration', 'SystemInformation']) {
        assert.equal(collectors[name]?.state, 'on', JSON.stringify(collectors[name]));
      }
    });

    it('is named as stopped by vakt status and vakt check, and vakt run by root rejects its state directory', async () => {
      system.must('systemctl', 'stop', 'vakt');
      for (const command of ['status', 'check']) {
        assert.match(system.run('vakt', command).output, /the service vakt is stopped[\s\S]*systemctl start vakt/);
      }
      const { status: exit, output } = system.run('vakt', 'run');
      assert.equal(exit, 70, output);
      assert.match(output, /Run the service instead: systemctl start vakt/);
      assert.equal(system.must('find', '/var/lib/vakt', '-not', '-user', 'vakt'), '');
      system.must('systemctl', 'start', 'vakt');
      await system.until('up', seconds(30), isUp);
    });

    it('looks for changed files at a reload, and logs it with the message first', async () => {
      system.must('systemctl', 'reload', 'vakt');
      const infos = () => system.must('journalctl', '-u', 'vakt', '-o', 'cat', 'SYSLOG_IDENTIFIER=vakt');
      await system.until('logged', seconds(20), () => /^Got SIGHUP: .*\{"remedy":/m.test(infos()));
      assert.equal(isUp(), true);
    });

    it('has a key file that only root can read', () => {
      const { output, status: exit } = system.run(
        'setpriv',
        '--reuid=vakt',
        '--clear-groups',
        'cat',
        '/etc/vakt/secrets/module.key',
      );
      assert.equal(exit, 1, output);
    });

    it('is restarted by the watchdog when it hangs', async () => {
      setting('WatchdogSec=4s');
      system.must('systemctl', 'restart', 'vakt');
      await system.until('up', seconds(30), isUp);
      const frozen = shown('MainPID');
      system.must('kill', '-STOP', frozen);
      const took = await system.until('another process', seconds(40), () => isUp() && shown('MainPID') !== frozen);
      assert.match(system.must('journalctl', '-u', 'vakt', '-o', 'cat'), /Watchdog timeout \(limit 4s\)!/);
      process.stdout.write(`      runs again ${took / 1_000} s after it was stopped\n`);
      await untilMessage(seconds(30));
      const { unclean, lastEnd } = status().restarts;
      assert.deepEqual({ unclean, lastEnd }, { unclean: 1, lastEnd: 'killed' });
    });

    it('continues while journald hangs and does not read its log', async () => {
      const journald = system.must('systemctl', 'show', '-P', 'MainPID', 'systemd-journald').trim();
      const process = shown('MainPID');
      system.must('kill', '-STOP', journald);
      try {
        // One line per signal, unless signals merge: the socket holds at most 8 MiB (systemd's SNDBUF_SIZE).
        system.must('sh', '-c', 'for i in $(seq 60000); do kill -HUP "$1"; done', 'sh', process);
        await untilMessage(seconds(30));
        await untilMessage(seconds(30));
        assert.equal(shown('MainPID'), process);
      } finally {
        system.must('kill', '-CONT', journald);
      }
      await untilMessage(seconds(30));
      assert.equal(shown('MainPID'), process);
    });

    it('keeps its unsent events during an upgrade', async () => {
      ask('POST', '/faults', { kind: 'ignoreMessages', durationMs: 600_000 });
      const waiting = () => status().delivery.queued.highEvents + status().delivery.queued.lowEvents;
      await system.until('20 events queued', seconds(60), () => waiting() >= 20);
      const { agentId, delivery } = status();
      const { cacheFull: lines = 0, ...lost } = delivery.dropped;
      // A few log lines of the flood before may still be counted. A lost segment of a queue would have more events.
      const onlyLinesAreLost = () => {
        const { cacheFull = 0, ...otherLosses } = status().delivery.dropped;
        assert.deepEqual(otherLosses, lost);
        assert.ok(cacheFull - lines < 10, `${cacheFull - lines} more are lost`);
      };
      const process = shown('MainPID');
      upgrade(system);
      await system.until('up anew', seconds(60), () => isUp() && shown('MainPID') !== process);
      await system.until('answering', seconds(20), isAnswering);
      const now = status();
      assert.equal(now.agentId, agentId);
      assert.ok(now.delivery.collected >= delivery.collected);
      assert.ok(now.delivery.delivered + waiting() >= 20, JSON.stringify(now.delivery));
      onlyLinesAreLost();
      ask('DELETE', '/faults');
      await untilMessage(seconds(90));
      await system.until(
        'all queued events sent',
        seconds(60),
        () => status().delivery.delivered >= delivery.collected - delivery.aggregatedAway - lines,
      );
      onlyLinesAreLost();
    });

    it('stays failed after a configuration error, and shows code, reason and remedy', async () => {
      system.must('cp', '-p', '/etc/vakt/agent.json', '/run/agent.json');
      system.must('sh', '-c', `echo '{ "hub": { "hostNam": 1 } }' >/etc/vakt/agent.json`);
      assert.equal(system.run('systemctl', 'restart', 'vakt').status, 1);
      await systemClock.sleep(seconds(12)); // longer than the delay before a restart
      assert.deepEqual([shown('ActiveState'), shown('ExecMainStatus'), shown('NRestarts')], ['failed', '78', '0']);
      const shownToOperators = system.run('systemctl', 'status', 'vakt', '--no-pager', '--full').output;
      assert.match(
        shownToOperators,
        /Status: "Local Configuration, Cant Parse Configuration: .*hostNam.*"vakt check"\. \(CONFIG_INVALID\)"/,
      );
      assert.match(
        system.must('journalctl', '-u', 'vakt', '-o', 'cat'),
        /"id":"CONFIG_INVALID","code":"Local Configuration","reason":"Cant Parse Configuration","remedy":"Correct/,
      );
      const vaktStatus = system.run('vakt', 'status').output;
      assert.match(vaktStatus, /the service vakt has failed \(exit status 78\): Local Configuration.*hostNam/);
      assert.match(vaktStatus, /systemctl start vakt/);
      const complaints = system.must('journalctl', '-u', 'vakt', '-o', 'cat', '-p', 'err', 'SYSLOG_IDENTIFIER=vakt');
      assert.match(
        complaints,
        /^vakt encountered an error! Error in: Local Configuration, .*hostNam.* \{"id":"CONFIG_INVALID"/m,
      );
      assert.doesNotMatch(complaints, /Vakt starts\./);
      system.must('cp', '-p', '/run/agent.json', '/etc/vakt/agent.json');
      system.must('systemctl', 'restart', 'vakt');
      await untilMessage(seconds(30));
    });

    it('contains the pages that its errors name', () => {
      const { output } = system.run('vakt', 'run', '--config', '/etc/vakt/absent.json');
      const [page] = /\/\S+\.md\b/.exec(output) ?? assert.fail(output);
      assert.match(system.must('cat', page), /^# Settings|memoryBudgetInMegabytes/m);
    });

    if (from !== undefined) {
      const { deb, name } = from;
      /**
       * Builds the same package with another version, as `name_VERSION.deb` in a folder; optionally with another example of
       * agent.json, or with agent.json as a conffile, as it was up to version 0.1.0.
       */
      const repacked = (version: string, { hasOtherExample = false, hasConffile = false } = {}): string => {
        const tree = '/var/tmp/repacked';
        const file = `/var/tmp/repository/${name}_${version}.deb`;
        system.must('mkdir', '-p', '/var/tmp/repository');
        system.must('rm', '-rf', tree);
        system.must('dpkg-deb', '--raw-extract', deb(), tree);
        system.must('sed', '-i', `s/^Version: .*/Version: ${version}/`, `${tree}/DEBIAN/control`);
        const example = `${tree}/usr/lib/vakt/config/agent.json`;
        if (hasOtherExample) system.must('sh', '-c', `echo '// new' >>${example}`);
        if (hasConffile) {
          system.must('install', '-D', '-m', '0644', example, `${tree}/etc/vakt/agent.json`);
          system.must('sh', '-c', `echo /etc/vakt/agent.json >${tree}/DEBIAN/conffiles`);
        }
        system.must('dpkg-deb', '-Znone', '--build', tree, file);
        system.must('rm', '-rf', tree);
        return file;
      };
      /** Waits for the agent of another package. @throws AssertionError if its id has changed */
      const untilRestarted = async (process: string, agentId: string) => {
        await system.until('up anew', seconds(60), () => isUp() && shown('MainPID') !== process);
        await system.until('answering', seconds(20), isAnswering);
        assert.equal(status().agentId, agentId);
        const { cacheFull: _, ...lost } = status().delivery.dropped; // lost log lines count as cacheFull
        assert.deepEqual(lost, {});
        await untilMessage(seconds(60));
      };
      const installed = () => system.must('dpkg-query', '--show', `--showformat=\${Version} \${Status}`, name);

      /** Installs a package as Mender does: by dpkg -i, where no question can be answered. */
      const change = async (file: string, version: string, ...options: string[]) => {
        const { agentId } = status();
        const process = shown('MainPID');
        system.must('dpkg', ...options, '-i', file);
        await untilRestarted(process, agentId);
        assert.equal(installed(), `${version} install ok installed`);
        assert.equal(system.must('cat', '/etc/vakt/agent.json'), JSON.stringify(CONFIGURATION));
      };

      it("keeps its configuration and its state during an unattended downgrade and upgrade by Mender's dpkg -i", async () => {
        await change(repacked('0.0.1'), '0.0.1');
        await change(repacked('9.0.0', { hasOtherExample: true }), '9.0.0');
      });

      it('keeps both when it replaces a package whose agent.json was a conffile, and when that one comes back', async () => {
        const older = repacked('0.1.0~older', { hasConffile: true });
        // A package of that time asks, since it doesn't know the file.
        await change(older, '0.1.0~older', '--force-confold');
        const [current = ''] = system.must('dpkg-deb', '--field', deb(), 'Version').trim().split('\n');
        await change(deb(), current);
        await change(older, '0.1.0~older');
        await change(repacked('9.0.0', { hasOtherExample: true }), '9.0.0');
        await change(deb(), current);
      });

      it('is removed without a complaint, and continues with its state when it is installed again', async () => {
        const { agentId } = status();
        const removal = system.run('apt-get', '-y', 'remove', name);
        assert.equal(removal.status, 0, removal.output);
        assert.doesNotMatch(removal.output, /warning|not empty|failed|daemon-reload/i);
        assert.equal(system.must('cat', '/etc/vakt/agent.json'), JSON.stringify(CONFIGURATION));
        const installation = system.run('dpkg', '-i', deb());
        assert.equal(installation.status, 0, installation.output);
        assert.doesNotMatch(installation.output, /warning|daemon-reload/i);
        await system.until('up anew', seconds(60), isUp);
        await system.until('answering', seconds(20), isAnswering);
        assert.equal(status().agentId, agentId);
        await untilMessage(seconds(60));
      });

      it('keeps its state during changes of version from a private repository by the commands of Device Update', async () => {
        const { agentId } = status();
        const [current = ''] = installed().split(' ');
        system.must('cp', deb(), `/var/tmp/repository/${name}_${current}.deb`);
        const index = `for deb in *.deb; do
          dpkg-deb --field "$deb"; echo "Filename: ./$deb"; echo "Size: $(stat -c %s "$deb")"
          echo "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)"; echo; done >Packages`;
        system.must('sh', '-ec', `cd /var/tmp/repository; ${index}`);
        system.must('sh', '-c', "echo 'deb [trusted=yes] file:/var/tmp/repository ./' >/var/tmp/sources.list");
        // Redirects the files that apt would otherwise change.
        const own = [
          'Dir::State=/var/tmp/apt',
          'Dir::State::Status=/var/lib/dpkg/status',
          'Dir::Etc::SourceList=/var/tmp/sources.list',
          'Dir::Etc::SourceParts=-',
        ];
        const apt = (...args: string[]) => system.must('apt-get', ...own.flatMap((option) => ['-o', option]), ...args);
        system.must('mkdir', '-p', '/var/tmp/apt/lists/partial');
        apt('update');
        for (const version of ['9.0.0', '0.0.1', current]) {
          const process = shown('MainPID');
          apt('-y', '--allow-downgrades', 'install', `${name}=${version}`);
          await untilRestarted(process, agentId);
          assert.equal(installed(), `${version} install ok installed`);
        }
        assert.equal(system.must('cat', '/etc/vakt/agent.json'), JSON.stringify(CONFIGURATION));
        system.must('rm', '-rf', '/var/tmp/repository', '/var/tmp/apt', '/var/tmp/sources.list');
      });
    }

    if (exchange !== undefined) {
      it('keeps running with its state when the other package replaces it, and when it replaces that one', async () => {
        const { agentId } = status();
        for (const deb of exchange) {
          const process = shown('MainPID');
          system.must('dpkg', '--install', deb());
          await system.until('up with another program', seconds(60), () => isUp() && shown('MainPID') !== process);
          const [, replaced = ''] = /^rc {2}(\S+)/m.exec(system.must('dpkg', '--list', 'vakt*')) ?? [];
          // Mostly dpkg has dropped it by now, since the other package owns all of its files.
          if (replaced !== '') system.must('dpkg', '--purge', replaced);
          await system.until('answering', seconds(20), isAnswering);
          assert.equal(status().agentId, agentId);
        }
      });
    }

    it('leaves no files or accounts when it is purged', () => {
      purge(system);
      assert.deepEqual(files(), filesBefore);
      assert.equal(accounts(), accountsBefore);
      assert.equal(system.must('systemctl', 'show', '-P', 'LoadState', 'vakt').trim(), 'not-found');
    });
  });
}
