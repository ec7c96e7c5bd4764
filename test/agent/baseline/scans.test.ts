import assert from 'node:assert/strict';
import { CUSTOM_CHECKS_REFUSED } from '../../../src/agent/baseline/custom-checks.ts';
import { BaselineScans } from '../../../src/agent/baseline/scans.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import type { BaselineReport, CheckOutcome, ScanOptions } from '../../../src/core/contract/baseline.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import type { SettingFault } from '../../../src/core/contract/streams.ts';
import { quietLog, someSettings } from '../pipeline/memory-queues.ts';

const { signal } = new AbortController();
const DIGEST = 'ab'.repeat(32);
const FILE = {
  baselineCustomChecksEnabled: true,
  baselineCustomChecksFilePath: '/etc/x.json',
  baselineCustomChecksFileHash: DIGEST,
};
const REFUSED = '/etc/x.json: does not belong to root';
/** The same, whatever the reason. */
const SAID = CUSTOM_CHECKS_REFUSED;

const outcome = (change: Partial<CheckOutcome>): CheckOutcome => ({
  rule: 'file.a',
  category: 'cron',
  severity: 'Warning',
  title: 'A holds',
  result: 'pass',
  remediation: 'Mend it.',
  ...change,
});

describe('BaselineScans', () => {
  let faults: SettingFault[];
  let lines: LogLine[];
  /** As root reads it on the device. */
  let written: string[];
  let asked: ScanOptions[];
  let report: BaselineReport;
  let wanted: Partial<Settings>;
  let scans: BaselineScans;

  beforeEach(() => {
    faults = [];
    lines = [];
    written = [];
    asked = [];
    wanted = {};
    report = {
      ruleSet: { version: '1.2.3', sha256: DIGEST },
      scannedAt: new Date('2026-05-01T12:00:00.000Z'),
      durationMs: 412,
      outcomes: [],
      unknown: [],
      limits: [],
    };
    scans = new BaselineScans({
      scanner: {
        scan: async (options) => {
          asked.push(options);
          return report;
        },
      },
      settings: {
        current: () => someSettings(wanted),
      },
      onFaults: (added) => faults.push(...added),
      clock: systemClock,
      log: createLog({
        level: 'info',
        destination: { write: (line) => written.push(line) },
        tap: { level: 'debug', accept: (line) => lines.push(line) },
      }),
    });
  });

  it('asks for what is on by default, without the exceptions of the twin', async () => {
    wanted = { baselineGroupsDisabled: ['cron'], baselineChecksDisabled: ['ssh.x'], baselineRoles: ['router'] };
    assert.equal(await scans.scan(signal), report);
    assert.deepEqual(asked, [
      { level: 1, walk: false, groupsDisabled: ['cron'], checksDisabled: ['ssh.x'], roles: ['router'] },
    ]);
  });

  for (const [what, change, customChecks] of [
    ['it has path and digest', FILE, { path: '/etc/x.json', sha256: DIGEST }],
    ['it is enabled', { ...FILE, baselineCustomChecksEnabled: false }, undefined],
    ['it has a path', { baselineCustomChecksEnabled: true, baselineCustomChecksFileHash: DIGEST }, undefined],
    ['it has a digest', { baselineCustomChecksEnabled: true, baselineCustomChecksFilePath: '/etc/x.json' }, undefined],
  ] as const) {
    it(`has a file of custom checks evaluated only when ${what}: ${customChecks === undefined ? 'not' : 'so'} here`, async () => {
      wanted = change;
      await scans.scan(signal);
      assert.deepEqual(asked[0]?.customChecks, customChecks);
    });
  }

  it('returns nothing before the first scan', () => {
    assert.deepEqual([scans.posture(), scans.warnings(), scans.status()], [undefined, {}, { state: 'on' }]);
  });

  it('returns the figures of the last scan, without unknown exceptions', async () => {
    report = {
      ...report,
      outcomes: [
        outcome({}),
        outcome({}),
        outcome({ result: 'fail' }),
        outcome({ result: 'fail', severity: 'Critical' }),
        outcome({ result: 'fail', severity: 'Critical' }),
        outcome({ result: 'err', severity: 'Important' }),
        outcome({ result: 'skip' }),
      ],
    };
    await scans.scan(signal);
    assert.deepEqual(scans.posture(), {
      passed: 2,
      failed: 3,
      failedBySeverity: { critical: 2, important: 0, warning: 1, informational: 0 },
      errors: 1,
      skipped: 1,
      ruleSet: '1.2.3',
      ruleSetHash: DIGEST,
      durationMs: 412,
      scannedAt: '2026-05-01T12:00:00.000Z',
      customChecks: 'off',
    });
  });

  it('lists every exception of the last scan, even if the settings have changed since', async () => {
    wanted = {
      ...FILE,
      baselineGroupsDisabled: ['cron', 'ssh'],
      baselineChecksDisabled: ['file.a'],
      baselineRoles: ['router'],
    };
    await scans.scan(signal);
    wanted = {};
    const { groupsDisabled, checksDisabled, roles, customChecks, customChecksHash } = scans.posture() ?? {};
    assert.deepEqual([groupsDisabled, checksDisabled, roles], ['cron,ssh', 'file.a', 'router']);
    assert.deepEqual([customChecks, customChecksHash], ['on', DIGEST]);
    await scans.scan(signal);
    assert.equal(scans.posture()?.groupsDisabled, undefined);
  });

  it('warns about unknown names in the property that has them', async () => {
    const many = Array.from({ length: 12 }, (_, n) => `role${n}`);
    wanted = {
      baselineGroupsDisabled: ['cron', 'crown'],
      baselineChecksDisabled: ['file.a', 'file.b'],
      baselineRoles: many,
    };
    report = { ...report, unknown: ['crown', 'file.b', ...many] };
    await scans.scan(signal);
    assert.deepEqual(scans.warnings(), {
      baselineGroupsDisabled: 'names an unknown category: crown',
      baselineChecksDisabled: 'names an unknown rule: file.b',
      baselineRoles: `names an unknown role: ${many.slice(0, 8).join(', ')} and 4 more`,
    });
    assert.deepEqual([faults, scans.status()], [[], { state: 'on' }]);
  });

  it('is degraded by what it could not see, with what would grant it', async () => {
    report = { ...report, limits: ['Runs in a container.', '3 rules could not be evaluated. Run as root.'] };
    await scans.scan(signal);
    const reason = 'Runs in a container. 3 rules could not be evaluated. Run as root.';
    assert.deepEqual(scans.status(), { state: 'degraded', reason });
    assert.equal(scans.posture()?.limits, reason);
  });

  describe('given custom checks that are refused', () => {
    beforeEach(async () => {
      wanted = FILE;
      report = { ...report, customChecksRefused: REFUSED };
      await scans.scan(signal);
    });

    it('reports refused custom checks in the status, with the results of the default rules', () => {
      const { customChecks, customChecksReason, customChecksHash, passed } = scans.posture() ?? {};
      assert.deepEqual([customChecks, customChecksReason, customChecksHash], ['refused', SAID, DIGEST]);
      assert.equal(passed, 0);
      assert.deepEqual(scans.warnings(), { baselineCustomChecksFilePath: `is not evaluated: ${SAID}` });
      const reason = `The custom checks are not evaluated: ${SAID}.`;
      assert.deepEqual(scans.status(), { state: 'degraded', reason });
    });

    it('reports a refused file once, and another file again, but not another reason', async () => {
      await scans.scan(signal);
      const [{ time, ...fault } = {} as SettingFault] = faults;
      assert.ok(time instanceof Date);
      assert.deepEqual(fault, {
        setting: 'baselineCustomChecksFilePath',
        type: 'TypeMismatch',
        used: '"/etc/x.json"',
        message: `is not evaluated: ${SAID}`,
      });
      assert.equal(faults.length, 1);
      assert.equal(lines.filter(({ level }) => level === 'warn').length, 1);
      report = { ...report, customChecksRefused: '/etc/x.json: is not JSON in UTF-8' };
      await scans.scan(signal);
      assert.equal(faults.length, 1);
      wanted = { ...FILE, baselineCustomChecksFileHash: 'cd'.repeat(32) };
      await scans.scan(signal);
      await scans.scan(signal);
      assert.equal(faults.length, 2);
    });

    it('logs the reason on the device, and reports the same words for every reason', async () => {
      const reasons = [
        'does not belong to root',
        "can't be read: ENOENT",
        'is no regular file',
        'is not JSON in UTF-8',
      ];
      const answers = new Set<string>();
      for (const [n, reason] of reasons.entries()) {
        wanted = { ...FILE, baselineCustomChecksFilePath: `/secret/${n}` };
        report = { ...report, customChecksRefused: `/secret/${n}: ${reason}` };
        await scans.scan(signal);
        const answer = { message: faults.at(-1)?.message, posture: scans.posture(), warnings: scans.warnings() };
        answers.add(JSON.stringify([answer, scans.status()]));
        assert.ok(written.at(-1)?.includes(reason));
      }
      assert.equal(answers.size, 1);
      for (const { message } of lines) for (const reason of reasons) assert.ok(!message.includes(reason), message);
    });

    it('reports a new reason for the same file in the log only', async () => {
      const { length } = lines.filter(({ level }) => level === 'warn');
      report = { ...report, customChecksRefused: '/etc/x.json: is not JSON in UTF-8' };
      await scans.scan(signal);
      assert.ok(written.at(-1)?.includes('is not JSON'));
      assert.equal(lines.filter(({ level }) => level === 'warn').length, length);
    });

    it('recovers when the custom checks are valid, and reports them again if they become invalid', async () => {
      const { customChecksRefused: _, ...fine } = report;
      report = fine;
      await scans.scan(signal);
      assert.deepEqual([scans.posture()?.customChecks, scans.warnings(), scans.status()], ['on', {}, { state: 'on' }]);
      report = { ...fine, customChecksRefused: REFUSED };
      await scans.scan(signal);
      assert.equal(faults.length, 2);
    });
  });

  it('keeps what it knew when a scan is aborted', async () => {
    await scans.scan(signal);
    const before = scans.posture();
    const stopped = new BaselineScans({
      scanner: { scan: (_, given) => Promise.reject(given.reason) },
      settings: { current: () => someSettings() },
      onFaults: () => {},
      clock: systemClock,
      log: quietLog(lines),
    });
    await assert.rejects(stopped.scan(AbortSignal.abort(new Error('stop'))), /stop/);
    assert.equal(stopped.posture(), undefined);
    assert.deepEqual(scans.posture(), before);
  });
});
