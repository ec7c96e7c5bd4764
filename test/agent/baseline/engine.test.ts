import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BaselineEngine, type EngineParts } from '../../../src/agent/baseline/engine.ts';
import { defaultRules } from '../../../src/agent/baseline/rule-set.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { BaselineReport, CheckOutcome, ScanOptions } from '../../../src/core/contract/baseline.ts';
import { skip } from '../../harness/require.ts';
import { asOrdinaryUser } from './ordinary-user.ts';
import { type Entries, RUNNING, type Tree, withTree } from './tree.ts';

const ALL: ScanOptions = { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [] };
const scriptOf = (name: string) => new URL(`${name}.js`, import.meta.url).pathname;
const isRoot = process.getuid?.() === 0;

const scan = (hostRoot: string, options: Partial<ScanOptions> = {}, parts: Partial<EngineParts> = {}) =>
  new BaselineEngine({ hostRoot, clock: systemClock, ...parts }).scan(
    { ...ALL, ...options },
    new AbortController().signal,
  );
const scanTree = (entries: Entries, options: Partial<ScanOptions> = {}, parts: Partial<EngineParts> = {}) =>
  withTree(entries, ({ root }: Tree) => scan(root, options, parts));
const outcome = (report: BaselineReport, id: string) => report.outcomes.find(({ rule }) => rule === id);

const SMALL: Entries = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
  'etc/group': 'root:x:0:\nshadow:x:42:\n',
  'etc/shadow': { text: 'root:!:19000:0:99999:7:::\n', mode: 0o640 },
  'etc/ssh/sshd_config': { text: 'PermitRootLogin no\n', mode: 0o600 },
  'bin/sh': { text: '', mode: 0o755 },
};

describe('BaselineEngine', () => {
  it('returns a result of every rule in the order of the rule set', async () => {
    const report = await scanTree(SMALL);
    const { checks, version, sha256 } = defaultRules();
    assert.deepEqual(
      report.outcomes.map(({ rule }) => rule),
      checks.map(({ rule }) => rule.id),
    );
    assert.deepEqual(report.ruleSet, { version, sha256 });
    assert.equal(outcome(report, 'sshd.permitrootlogin')?.result, 'pass');
    for (const { result, expected, remediation, reason } of report.outcomes) {
      assert.ok(expected && remediation);
      if (result === 'skip' || result === 'err') assert.ok(reason);
    }
  });

  it('returns the reason for a skipped rule', async () => {
    const report = await scanTree(SMALL, {
      groupsDisabled: ['cron'],
      checksDisabled: ['file.etc-passwd'],
      roles: ['router'],
    });
    const reasons = (id: string) => outcome(report, id)?.reason;
    assert.equal(reasons('file.cron-allow-exists'), 'excepted by the operator: the category cron');
    assert.equal(reasons('file.etc-passwd'), 'excepted by the operator: the rule');
    assert.equal(reasons('sysctl.net.ipv4.ip_forward'), 'the device is declared to be: router');
    assert.equal(reasons('file.system-map'), 'level 2, which is not asked for');
    assert.equal(reasons('cfg.auditd-max-log'), 'level 2, which is not asked for');
    assert.equal(reasons('pam.no-nullok'), 'there is no pam');
    assert.deepEqual(report.unknown, []);
  });

  it('evaluates level 2 and walks when they are asked for', async () => {
    const report = await scanTree(SMALL, { level: 2, walk: true });
    assert.equal(outcome(report, 'walk.setid')?.result, 'pass');
    assert.equal(outcome(report, 'file.system-map')?.result, 'pass');
    assert.match(outcome(await scanTree(SMALL, { level: 2 }), 'walk.setid')?.reason ?? '', /not asked for/);
  });

  it('evaluates what is named only, whatever its level', async () => {
    const report = await scanTree(SMALL, { only: ['walk.setid', 'file.etc-passwd', 'no.such-rule'] });
    assert.deepEqual(
      report.outcomes.map(({ rule, result }) => [rule, result]),
      [
        ['file.etc-passwd', isRoot ? 'pass' : 'fail'],
        ['walk.setid', 'pass'],
      ],
    );
    assert.deepEqual(report.unknown, ['no.such-rule']);
  });

  it('names what no rule, category or role is called', async () => {
    const { unknown } = await scanTree(SMALL, { groupsDisabled: ['x'], checksDisabled: ['y'], roles: ['toString'] });
    assert.deepEqual(unknown, ['x', 'y', 'toString']);
  });

  it('ends with the signal’s reason', async () => {
    const stop = new AbortController();
    stop.abort(new Error('stopped'));
    const engine = new BaselineEngine({ hostRoot: '/', clock: systemClock });
    await assert.rejects(engine.scan(ALL, stop.signal), /stopped/);
  });

  it('evaluates the operator’s own rules last', async function () {
    if (!isRoot) skip(this, 'needs root, whose the file has to be');
    await withTree({ ...SMALL, 'etc/motd': 'Owner: Ann, 555-0100\n' }, async ({ root }) => {
      const text = JSON.stringify({
        rules: [
          {
            id: 'custom.motd',
            category: 'house',
            severity: 'Critical',
            level: 1,
            title: 'The message of the day names nobody',
            primitive: 'lines',
            params: { files: ['/etc/motd'], pattern: '^Owner:', want: 'none', ifMissing: 'pass' },
            appliesTo: { container: true },
          },
        ],
      });
      const path = join(root, 'checks.json');
      writeFileSync(path, text);
      const sha256 = createHash('sha256').update(text).digest('hex');
      const report = await scan(root, { customChecks: { path, sha256 } });
      const last = report.outcomes.at(-1);
      assert.deepEqual([last?.rule, last?.result, last?.where], ['custom.motd', 'fail', '/etc/motd:1']);
      const excepted = await scan(root, { customChecks: { path, sha256 }, groupsDisabled: ['house'] });
      assert.equal(excepted.outcomes.at(-1)?.result, 'skip');
      const refused = await scan(root, { customChecks: { path, sha256: '0'.repeat(64) } });
      assert.match(refused.customChecksRefused ?? '', /SHA-256/);
      assert.equal(refused.outcomes.length, report.outcomes.length - 1);
    });
  });
});

describe('BaselineEngine, where little is to be seen', () => {
  it('skips a stage that hung before, reports it once, and reports custom checks only to root', () =>
    withTree({ ...RUNNING, 'etc/passwd': 'ann:x:1000:1000::/home/ann:/bin/sh\n' }, async ({ root }) => {
      const steps: string[] = [];
      const hung = { homes: '/home/ann', custom: '/secret/file' };
      const engine = new BaselineEngine({ hostRoot: root, clock: systemClock, hung, at: (what) => steps.push(what) });
      const customChecks = { path: '/secret/file', sha256: 'ab'.repeat(32) };
      const { outcomes, limits, customChecksRefused } = await engine.scan(
        { ...ALL, customChecks },
        new AbortController().signal,
      );
      const left = outcomes.filter(({ reason }) => reason?.includes('/home/ann hung'));
      assert.ok(left.length >= 3 && left.every(({ result }) => result === 'err'));
      assert.equal(limits.filter((limit) => limit.includes('hung')).length, 1);
      assert.ok(!JSON.stringify([outcomes, limits]).includes('/secret'));
      assert.match(customChecksRefused ?? '', /\/secret\/file hung/);
      assert.ok(steps.includes('custom /secret/file') && steps[0] === `start ${root}`);
    }));

  it('skips services of systemd that are neither enabled nor running', async () => {
    const installed: Entries = {
      ...SMALL,
      'usr/lib/systemd/systemd-resolved': '',
      'usr/lib/systemd/systemd-timesyncd': '',
      'usr/lib/systemd/system/systemd-resolved.service': '[Unit]',
      'usr/lib/systemd/resolved.conf': '[Resolve]\n#LLMNR=yes\n',
    };
    const report = await scanTree(installed);
    assert.equal(outcome(report, 'cfg.resolved-llmnr')?.reason, 'systemd-resolved is not started');
    assert.equal(outcome(report, 'cfg.timesyncd-servers')?.reason, 'systemd-timesyncd is not started');
    const used = await scanTree({
      ...installed,
      ...RUNNING,
      'etc/systemd/system/sysinit.target.wants/systemd-resolved.service': {
        link: '/usr/lib/systemd/system/systemd-resolved.service',
      },
      'proc/77/comm': 'systemd-timesyn\n',
    });
    assert.equal(outcome(used, 'cfg.resolved-llmnr')?.result, 'fail');
    assert.equal(outcome(used, 'cfg.timesyncd-servers')?.result, 'fail');
  });

  it('skips the use of PAM by sshd where there is no PAM', async () => {
    assert.equal(outcome(await scanTree(SMALL), 'sshd.usepam')?.reason, 'there is no pam');
    const report = await scanTree({ ...SMALL, 'etc/pam.d/sshd': '' });
    assert.equal(outcome(report, 'sshd.usepam')?.result, 'fail');
  });

  it('skips facts of the host in a container, and reports it once', async () => {
    const report = await scan('/', {}, { inContainer: true });
    assert.equal(outcome(report, 'sysctl.kernel.randomize_va_space')?.result, 'skip');
    assert.equal(outcome(report, 'net.listen-telnet')?.result, 'skip');
    assert.deepEqual(report.limits.filter((limit) => limit.includes('container')).length, 1);
    const evaluated = defaultRules()
      .checks.filter(({ rule }) => !rule.appliesTo.container)
      .map(({ rule }) => rule.id);
    for (const { rule, result } of report.outcomes) if (evaluated.includes(rule)) assert.equal(result, 'skip', rule);
  });

  it('sees the host from a container where its root and /proc are mounted', async () => {
    const report = await scanTree({ ...SMALL, ...RUNNING, 'proc/sys/kernel/randomize_va_space': '2\n' });
    assert.equal(outcome(report, 'sysctl.kernel.randomize_va_space')?.result, 'pass');
    assert.deepEqual(report.limits, []);
  });

  it('skips facts of a running system in a tree, and reports it once', async () => {
    const report = await scanTree(SMALL);
    assert.equal(outcome(report, 'kernel.cmdline-no-weakening')?.result, 'skip');
    assert.equal(report.limits.length, 1);
    assert.match(report.limits[0] ?? '', /not a running system/);
  });

  it('fails nothing as an ordinary user that root would pass, and says once what it misses', async function () {
    if (!isRoot) skip(this, 'needs root, to compare');
    const own = await scan('/', { level: 2 });
    const ofUser = await asOrdinaryUser(() => scan('/', { level: 2 }));
    // Other processes may change this machine between the scans: that is not a false failure.
    const after = await scan('/', { level: 2 });
    const failed = [own, after].flatMap(({ outcomes }) => outcomes.filter(({ result }) => result === 'fail'));
    const known = new Set(failed.map(({ rule }) => rule));
    const wrong = ofUser.outcomes.filter(({ rule, result }) => result === 'fail' && !known.has(rule));
    assert.deepEqual(
      wrong.map(({ rule, actual }) => `${rule}: ${actual}`),
      [],
    );
    const lacking = ofUser.limits.filter((limit) => limit.includes('permission'));
    assert.equal(lacking.length, 1);
    assert.match(lacking[0] ?? '', /CAP_DAC_READ_SEARCH/);
    assert.ok(ofUser.outcomes.some(({ result, reason }) => result === 'err' && reason?.startsWith('no permission')));
  });

  it('looks at what the first process sees, from a unit that has mounts of its own', function () {
    if (!isRoot) skip(this, 'needs root, to make a mount namespace');
    const command = `${process.execPath} ${scriptOf('evaluate-one')} file.etc-passwd mount.root.readonly`;
    // PID 1 is the outer shell; the inner one, as a protected unit, sees an empty /etc.
    const inner = `unshare -m sh -c 'mount -t tmpfs none /etc && exec ${command}'; true`;
    const args = ['--pid', '--fork', '--mount', '--mount-proc', 'sh', '-c', inner];
    const { stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8', env: { PATH: process.env.PATH } });
    assert.equal(stderr, '');
    const [passwd] = JSON.parse(stdout) as CheckOutcome[];
    assert.deepEqual([passwd?.rule, passwd?.result, passwd?.where], ['file.etc-passwd', 'pass', '/etc/passwd']);
  });
});
