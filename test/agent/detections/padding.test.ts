import assert from 'node:assert/strict';
import { builtInRules } from '../../../src/agent/detections/built-in.ts';
import { Detector } from '../../../src/agent/detections/detector.ts';
import { subjectOf } from '../../../src/agent/detections/subjects.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { release, sampled } from '../../fuzz.ts';
import { ruleCases } from './unseen-cases.ts';

/* Rules exempt daily work. Attackers can read them, and add a word from an exemption to the command. */

/** Words that rules exempt something for, or once did. */
const WORDS = [
  ...['backup', '--exclude x', '127.0.0.1', '10.0.0.1', 'localhost', 'http://localhost/', '-U', 'UNIX-CONNECT'],
  ...['/usr/share/', '/usr/lib/', '/lib/modules/', '/etc/logrotate', '/var/log/x.gz', '/home/a ', 'rootfs', 'sysroot'],
  ...[
    'initramfs',
    'DOCKER',
    'dpkg',
    'apt-get install x',
    'docker ps',
    'grep x',
    'git status',
    'certbot',
    'letsencrypt',
  ],
  ...['GET /', 'HTTP/1', '--tlsverify', '--version', '-mtime', '-HUP', '-d x', '.pub', '.orig', 'x.deb', 'known_hosts'],
  ...['conftest', 'CMakeFiles', 'exporter', 'image', 'gateway', 'systemd', '/dev/tty', 'nmap -sn', 'dumpcap'],
];

const HIDING: readonly ((script: string, word: string) => string)[] = [
  (script, word) => `${script} # ${word}`,
  (script, word) => `${script}; : ${word}`,
  (script, word) => `: ${word}; ${script}`,
];

describe('a word from an exemption', () => {
  const detector = new Detector({ rules: builtInRules().rules, clock: systemClock });
  const isNoticed = (script: string): boolean => {
    const argv = ['sh', '-c', script];
    const payload = { Executable: '/usr/bin/dash', CommandLine: argv.join(' '), UserId: '0', UserName: 'root' };
    const parent = { executable: '/usr/bin/bash', commandLine: '-bash' };
    const subject = subjectOf({ name: 'ProcessCreate', payload, time: 0, argv, parent });
    assert.ok(subject !== undefined);
    return detector
      .match(subject)
      .matches.some(({ rule: { facts } }) => facts.alerts && ['medium', 'high', 'critical'].includes(facts.level));
  };
  const scripts = ruleCases().flatMap(({ expect, events: [event, ...more] }) => {
    const script = /^(?:ba|da|a)?sh -c (.*)$/s.exec(String(event?.CommandLine))?.[1];
    return expect && more.length === 0 && script !== undefined && isNoticed(script) ? [script] : [];
  });

  for (const [index, hidden] of HIDING.entries())
    it(`hides no attack: ${hidden('COMMAND', 'WORD')}${release(index > 0)}`, () => {
      assert.ok(scripts.length > 100);
      const lines = scripts.flatMap((script) => WORDS.map((word) => hidden(script, word)));
      const missed = sampled(lines).filter((line) => !isNoticed(line));
      assert.deepEqual(missed, []);
    });
});
