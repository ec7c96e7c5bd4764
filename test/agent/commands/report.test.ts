import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { software } from '../../../src/agent/commands/report/gather.ts';
import { reportPage } from '../../../src/agent/commands/report/page.ts';
import type { Report } from '../../../src/agent/commands/report/report.ts';
import { run } from '../../../src/agent/commands/report.ts';
import { serveControlSocket } from '../../../src/core/base/control-socket.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import type { BaselineReport } from '../../../src/core/contract/baseline.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const OPTIONS = { level: 1, walk: false, roles: [], groupsDisabled: [], checksDisabled: [] } as const;
const HOSTILE = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">\u202e';

/** A report in which every value that an attacker can choose is hostile. */
const report = (change: Partial<Report> = {}): Report => ({
  subject: HOSTILE,
  of: 'system',
  at: '2026-05-01T12:00:00.000Z',
  by: HOSTILE,
  version: '0.1.0',
  system: { OSName: HOSTILE, ExtraDetails: { Kernel: HOSTILE } },
  baseline: {
    ruleSet: { version: '1', sha256: 'ab' },
    scannedAt: new Date('2026-05-01T12:00:00.000Z'),
    durationMs: 1,
    outcomes: [
      {
        rule: 'a.b',
        category: HOSTILE,
        severity: 'Critical',
        title: HOSTILE,
        result: 'fail',
        actual: HOSTILE,
        remediation: HOSTILE,
      },
    ],
    unknown: [],
    limits: [HOSTILE],
  },
  ports: {
    rows: [{ Protocol: 'tcp', LocalAddress: HOSTILE, LocalPort: '22', ExtraDetails: { Executable: HOSTILE } }],
    leftOut: 2,
  },
  firewall: { rows: [{ ChainName: HOSTILE, Enabled: true, Action: 'Allow' }], leftOut: 0, reason: HOSTILE },
  accounts: { rows: [{ UserName: HOSTILE, UserId: '0', GroupNames: HOSTILE }], leftOut: 0 },
  software: { manager: 'dpkg', where: '/var/lib/dpkg/status', packages: [{ name: HOSTILE, version: HOSTILE }] },
  alerts: [
    HOSTILE,
    {
      AlertType: HOSTILE,
      Severity: 'High',
      RuleTitle: HOSTILE,
      Count: 1,
      FirstSeenUtc: '',
      LastSeenUtc: HOSTILE,
      Remediation: HOSTILE,
      CommandLine: HOSTILE,
    },
  ],
  agent: { problem: HOSTILE },
  hardware: { answers: { battery: { model: HOSTILE } }, problems: { [HOSTILE]: HOSTILE } },
  ...change,
});
const page = (change?: Partial<Report>) => reportPage(report(change), { options: OPTIONS, categories: {} });
const textOf = (html: string) => html.replace(/<style>.*?<\/style>|<[^>]*>/gs, ' ');

describe('The page of a report', () => {
  it('the page shows hostile values as text and does not run them', () => {
    const html = page();
    assert.ok(!/<script|<img|\u202e/i.test(html));
    assert.ok((html.match(/&lt;script&gt;alert\(1\)/g) ?? []).length >= 20);
    assert.ok(!/<[^>]*\sonerror/i.test(html.replace(/"[^"]*"/g, '""')));
  });

  it('the page has no script, and its policy allows only its own style', () => {
    const html = page();
    const [, policy = ''] = /Content-Security-Policy" content="([^"]*)"/.exec(html) ?? [];
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(html) ?? [];
    const digest = createHash('sha256').update(style).digest('base64');
    assert.equal(policy, `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`);
    assert.ok(!/\b(?:src|href)="(?!#)/.test(html));
  });

  it('the page starts with a verdict', () => {
    const verdictOf = (change?: Partial<Report>) => {
      const [section = ''] = /<section id="verdict">.*?<\/section>/s.exec(page(change)) ?? [];
      return textOf(section).replace(/\s+/g, ' ').trim();
    };
    const ports = { rows: [{ Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort: '22' }], leftOut: 0 };
    const [alert] = [{ Severity: 'High' }];
    const agent = { state: 'degraded', version: '0.0.9', collectors: { Login: { state: 'unavailable' } } } as never;
    assert.equal(
      verdictOf({ ports, alerts: [alert, alert, { Severity: 'Low' }, HOSTILE], agent, system: { OSName: 'Debian' } }),
      'Verdict Needs attention: 4 alerts, 1 hardening rule failed. ' +
        'Look at: 1 port can be reached from outside, degraded agent, 0.1.0 version of Vakt. Missing: 4 parts of this report, see below. ' +
        '4 alerts 2 High, 1 Low, 1 of unknown severity ' +
        '1 port can be reached from outside 22/tcp 1 hardening rule failed 1 Critical ' +
        'degraded agent 1 collector degraded or unavailable 0.1.0 version of Vakt the agent runs 0.0.9, Debian',
    );
    const baseline = { ...(report().baseline as BaselineReport), outcomes: [], limits: [] };
    const none = { rows: [], leftOut: 0 };
    const running = { state: 'running', version: '0.1.0', collectors: { Login: { state: 'on' } } } as never;
    const fine = {
      ...{ alerts: [], baseline, ports: none, firewall: none, agent: running },
      hardware: { answers: {}, problems: {} },
    };
    assert.match(verdictOf(fine), /^Verdict Nothing needs attention\. 0 alerts 0 ports/);
    const [outcome] = (report().baseline as BaselineReport).outcomes.map((one) => ({ ...one, result: 'err' as const }));
    assert.ok(outcome);
    for (const [change, expected] of [
      [{ ports: { rows: [], leftOut: 3 } }, 'Look at: ≥ 0 ports can be reached from outside. Missing: 1 part '],
      [{ agent: { problem: 'no agent answers' } }, 'Unknown: agent. Missing: 1 part '],
      [{ accounts: { problem: 'unreadable' } }, 'Missing: 1 part of this report, see below. 0 alerts'],
      [{ baseline: { ...baseline, limits: ['not root'] } }, 'Look at: 0 hardening rules failed. Missing: 1 part '],
      [{ baseline: { ...baseline, outcomes: [outcome] } }, 'Look at: 0 hardening rules failed. Missing: 1 part '],
    ] as const) {
      assert.ok(verdictOf({ ...fine, ...change }).startsWith(`Verdict ${expected}`), verdictOf({ ...fine, ...change }));
    }
    assert.match(
      verdictOf({ ...fine, baseline: { ...baseline, outcomes: [outcome] } }),
      /0 hardening rules failed 1 could not be evaluated/,
    );
  });

  it('the page shows next the parts that it does not show', () => {
    const text = textOf(page({ software: { problem: 'no database' }, agent: { problem: 'no agent answers' } }));
    const [, unseen = ''] =
      /What this report does not show(?!.*What this report does not show)(.*?)OSName/s.exec(text) ?? [];
    for (const what of ['no database', 'no agent answers', 'Hardening']) assert.ok(unseen.includes(what), what);
    assert.match(text, /2 rows are missing, because the list has a limit/);
  });

  it('the page names truncated lists, rules that could not be evaluated, and questions without an answer', () => {
    const baseline = report().baseline as BaselineReport;
    const outcomes = baseline.outcomes.map((one) => ({ ...one, result: 'err' as const }));
    const [, unseen = ''] =
      /What this report does not show(?!.*What this report does not show)(.*?)OSName/s.exec(
        textOf(
          page({ baseline: { ...baseline, outcomes }, hardware: { answers: {}, problems: { disks: 'too slow' } } }),
        ),
      ) ?? [];
    for (const part of ['2 rows are missing', '1 rule could not be evaluated', 'Hardware: disks', 'too slow'])
      assert.ok(unseen.includes(part), part);
  });

  it('the page does not report that no port is open if the list of ports may be incomplete', () => {
    const cut = textOf(page({ ports: { rows: [], leftOut: 0, reason: 'ss is missing' } }));
    assert.ok(!cut.includes('No port is open.'));
    assert.ok(textOf(page({ ports: { rows: [], leftOut: 0 } })).includes('No port is open.'));
  });

  it('the page reports that every packet passes if no firewall rule is in force', () => {
    const of = (Enabled: boolean) =>
      textOf(page({ firewall: { rows: [{ ChainName: 'INPUT', Enabled, Action: 'Allow' }], leftOut: 0 } }));
    assert.match(of(false), /No rule is in force: every packet passes\./);
    assert.ok(!of(true).includes('every packet passes'));
  });

  it('the page reports a status of the agent that this version does not support', () => {
    const text = textOf(page({ agent: {} as never }));
    assert.match(text, /The status of the agent is not one of this version\./);
  });
});

describe('The software of a root', () => {
  it('software reads the database of the package manager and sorts the packages', () => {
    const root = temporaryFolder();
    mkdirSync(join(root, 'var/lib/dpkg'), { recursive: true });
    const paragraph = (name: string, state: string) =>
      `Package: ${name}\nStatus: install ok ${state}\nVersion: 1.${name.length}\n`;
    const text = ['zlib', 'bash'].map((name) => paragraph(name, 'installed')).join('\n');
    writeFileSync(join(root, 'var/lib/dpkg/status'), `${text}\n${paragraph('gone', 'config-files')}`);
    assert.deepEqual(software(root), {
      manager: 'dpkg',
      where: '/var/lib/dpkg/status',
      packages: [
        { name: 'bash', version: '1.4' },
        { name: 'zlib', version: '1.4' },
      ],
    });
  });

  it('software reports a database without packages as a problem', () => {
    const root = temporaryFolder();
    mkdirSync(join(root, 'var/lib/dpkg'), { recursive: true });
    writeFileSync(join(root, 'var/lib/dpkg/status'), 'garbage\n');
    assert.match((software(root) as { problem: string }).problem, /no installed package: it is empty or damaged/);
  });

  it('software reports why it cannot list the packages', () => {
    const root = temporaryFolder();
    assert.match((software(root) as { problem: string }).problem, /^No database of dpkg, opkg, apk or rpm was found/);
    mkdirSync(join(root, 'var/lib/rpm'), { recursive: true });
    writeFileSync(join(root, 'var/lib/rpm/rpmdb.sqlite'), '');
    assert.match((software(root) as { problem: string }).problem, /rpm -qa/);
  });
});

describe('vakt report', function () {
  this.timeout(180_000);
  let folder: string;
  let out: string[];
  let world: World;
  let close: (() => Promise<void>) | undefined;

  beforeEach(() => {
    folder = temporaryFolder();
    const identity = { kind: 'connectionString', file: 'secret' };
    writeFileSync(join(folder, 'agent.json'), JSON.stringify({ identity, controlSocket: 'control.sock' }));
    out = [];
    const { signal } = new AbortController();
    world = { stdout: (line) => out.push(line), stderr: () => {}, environment: {}, signal, terminal: false };
  });
  afterEach(async () => {
    await close?.();
    close = undefined;
  });
  const call = (...args: string[]) => run([...args, '--config', join(folder, 'agent.json')], world);

  it('report describes this system, and the running agent with its alerts', async () => {
    const alert = { AlertType: 'IoT_Planted', RuleTitle: 'planted' };
    close = await serveControlSocket(join(folder, 'control.sock'), {
      '/status': () => ({ version: '0.1.0', state: 'running' }),
      '/alerts': () => [alert],
    });
    const file = join(folder, 'report.html');
    assert.equal(await call('--html', file, '--json'), 0);
    const found = JSON.parse(out.join('\n'));
    assert.equal(out.length, 1);
    assert.deepEqual(found.alerts, [alert]);
    assert.equal(found.agent.state, 'running');
    assert.ok(found.accounts.rows.some(({ UserName }: { UserName: string }) => UserName === 'root'));
    assert.ok(found.baseline.outcomes.length > 100);
    assert.equal(typeof found.system.OsArchitecture, 'string');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.match(readFileSync(file, 'utf8'), /^<!doctype html>/);
  });

  it('report --root describes only the files of the tree, and explains the missing parts', async () => {
    const root = join(folder, 'root');
    mkdirSync(join(root, 'etc'), { recursive: true });
    writeFileSync(join(root, 'etc/passwd'), 'device:x:1000:1000::/home/device:/bin/sh\n');
    writeFileSync(join(root, 'etc/os-release'), 'ID=yocto\n');
    assert.equal(await call('--json', '--root', root), 0);
    const found = JSON.parse(out.join('\n'));
    assert.deepEqual([found.of, found.subject], ['tree', root]);
    assert.deepEqual(
      found.accounts.rows.map(({ UserName }: { UserName: string }) => UserName),
      ['device'],
    );
    for (const part of ['ports', 'firewall', 'alerts', 'agent', 'system'])
      assert.match(found[part].problem, /does not run/);
  });

  it('report names the control socket where no agent answers', async () => {
    assert.equal(await call('--json'), 0);
    assert.match(JSON.parse(out.join('\n')).agent.problem, /^no agent answers at .*control\.sock/);
  });

  it('report rejects invalid options before it starts', async () => {
    for (const args of [
      [],
      ['--html', '/dev/null'],
      ['--json', '--root', '/nonexistent'],
      ['--json', '--root', folder, '--hardware'],
    ])
      await assert.rejects(call(...args), UsageError);
  });

  it('report rejects if the page cannot be written', async () => {
    await assert.rejects(call('--html', join(folder, 'missing/report.html')), { id: 'RESULT_UNWRITABLE' });
  });
});
