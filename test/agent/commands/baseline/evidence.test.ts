import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gatherEvidence, treeDigest } from '../../../../src/agent/commands/baseline/evidence.ts';
import { junitReport } from '../../../../src/agent/commands/baseline/junit.ts';
import { baselinePage } from '../../../../src/agent/commands/baseline/page.ts';
import { sarifReport } from '../../../../src/agent/commands/baseline/sarif.ts';
import type { Scanned } from '../../../../src/agent/commands/baseline/scanned.ts';
import { run } from '../../../../src/agent/commands/baseline.ts';
import { AgentError } from '../../../../src/core/base/errors.ts';
import { UsageError, type World } from '../../../../src/core/command-line/command.ts';
import type { CheckOutcome } from '../../../../src/core/contract/baseline.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { asNobody } from '../../../harness/nobody.ts';
import { faultsOfSarif } from '../../../sarif-schema.ts';

const { signal } = new AbortController();

const outcome = (change: Partial<CheckOutcome>): CheckOutcome => ({
  rule: 'ssh.a',
  category: 'ssh',
  severity: 'Critical',
  title: 'A holds',
  result: 'fail',
  remediation: 'Set a to no.',
  ...change,
});

const SCANNED: Scanned = {
  subject: '/srv/image',
  options: { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [] },
  report: {
    ruleSet: { version: '1.0.0', sha256: 'ab'.repeat(32) },
    scannedAt: new Date('2026-05-01T12:34:56.000Z'),
    durationMs: 1_234,
    outcomes: [
      outcome({ actual: '<yes> & "no"\u0000', expected: 'no', where: '/etc/ssh/a b:7' }),
      outcome({ rule: 'ssh.b', result: 'err', severity: 'Warning', reason: 'EACCES' }),
      outcome({ rule: 'ssh.c', result: 'pass', where: '/etc/ssh/sshd_config:12' }),
      outcome({ rule: 'cron.d', category: 'cron', result: 'skip', reason: 'no cron', severity: 'Informational' }),
    ],
    unknown: [],
    limits: ['Not root.'],
  },
  evidence: {
    madeAt: '2026-05-01T12:35:00.000Z',
    madeBy: 'builder',
    madeOn: 'ci-7',
    agentVersion: '0.1.0',
    system: 'Device OS 3, build 12',
    treeSha256: 'cd'.repeat(32),
  },
};

describe('The evidence of a scan', () => {
  it('the page of a scan shows the system, the digest, the program, the user and the time', () => {
    const html = baselinePage(SCANNED, {});
    for (const said of [
      'Device OS 3, build 12',
      'cd'.repeat(32),
      'Vakt 0.1.0',
      '2026-05-01T12:35:00.000Z by builder on ci-7',
    ])
      assert.ok(html.includes(said), said);
  });

  it('the evidence names the system by its os-release, with build and image', async () => {
    const root = temporaryFolder();
    mkdirSync(join(root, 'etc'));
    const release = 'PRETTY_NAME="Device OS 3"\nBUILD_ID=12\nIMAGE_ID=gateway\nIMAGE_VERSION=7\n';
    writeFileSync(join(root, 'etc/os-release'), release);
    const evidence = await gatherEvidence({ root, withDigest: false }, signal);
    assert.equal(evidence.system, 'Device OS 3, build 12, image gateway 7');
    assert.equal(evidence.treeSha256, undefined);
    assert.equal(evidence.product, undefined); // It describes this machine, not the tree.
  });
});

describe('treeDigest', () => {
  const tree = (): string => {
    const root = temporaryFolder();
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/a'), 'a');
    writeFileSync(join(root, 'etc/b'), 'b');
    symlinkSync('a', join(root, 'etc/link'));
    return root;
  };
  const digest = (root: string) => treeDigest(root, signal);

  it('treeDigest returns the same digest for equal trees with different times and paths', async () => {
    const [one, other] = [tree(), tree()];
    utimesSync(join(other, 'etc/a'), 1, 1);
    assert.equal(await digest(one), await digest(other));
    assert.match(await digest(one), /^[0-9a-f]{64}$/);
  });

  for (const [what, change] of [
    ['the content of a file', (root: string) => writeFileSync(join(root, 'etc/a'), 'A')],
    ['the mode of a file', (root: string) => chmodSync(join(root, 'etc/a'), 0o600)],
    ['a new file', (root: string) => writeFileSync(join(root, 'c'), '')],
    [
      'swapped contents of two files',
      (root: string) => {
        writeFileSync(join(root, 'etc/a'), 'b');
        writeFileSync(join(root, 'etc/b'), 'a');
      },
    ],
  ] as const) {
    it(`treeDigest changes with ${what}`, async () => {
      const root = tree();
      const before = await digest(root);
      change(root);
      assert.notEqual(await digest(root), before);
    });
  }

  it('treeDigest distinguishes names that are not UTF-8', async () => {
    const named = (...names: Buffer[]) => {
      const root = tree();
      for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${root}/`), name]), 'x');
      return digest(root);
    };
    const [one, other] = [Buffer.of(0x61, 0xff), Buffer.of(0x61, 0xfe)];
    assert.notEqual(await named(one), await named(other));
    assert.equal(await named(one, other), await named(other, one));
  });

  it('treeDigest rejects a tree with a file that cannot be read', async () => {
    const root = tree();
    chmodSync(root, 0o755);
    assert.match(await asNobody(() => digest(root)), /^[0-9a-f]{64}$/);
    chmodSync(join(root, 'etc/a'), 0);
    await assert.rejects(
      asNobody(() => digest(root)),
      (error) => error instanceof AgentError && error.id === 'SOURCE_UNREADABLE' && error.message.includes('etc/a'),
    );
  });
});

describe('The report of a scan as SARIF', () => {
  interface Result {
    readonly ruleId: string;
    readonly ruleIndex: number;
    readonly kind: string;
    readonly level: string;
    readonly locations?: unknown;
  }
  const log = JSON.parse(JSON.stringify(sarifReport(SCANNED)));
  const [{ tool, results, invocations, properties }] = log.runs;

  it('the SARIF report is valid against its schema, with and without optional members', () => {
    const image = { file: 'gateway 7.img', sizeBytes: 7, sha256: 'ef'.repeat(32), isMounted: true };
    const evidence = { ...(SCANNED.evidence ?? assert.fail()), image };
    const { evidence: _, ...bare } = SCANNED;
    const all: readonly Scanned[] = [
      SCANNED,
      { ...SCANNED, evidence },
      { ...bare, report: { ...SCANNED.report, outcomes: [], limits: [] } },
      { ...SCANNED, exceptions: [{ name: 'ssh.a', reason: 'why', expires: '2027-01-01', isExpired: false }] },
    ];
    for (const scanned of all) assert.deepEqual(faultsOfSarif(JSON.parse(JSON.stringify(sarifReport(scanned)))), []);
  });

  it('the SARIF report marks the run as unsuccessful if the custom rules were rejected', () => {
    const refused = { ...SCANNED, report: { ...SCANNED.report, customChecksRefused: 'it is not JSON' } };
    const told = JSON.parse(JSON.stringify(sarifReport(refused)));
    assert.deepEqual(faultsOfSarif(told), []);
    const [{ executionSuccessful, toolExecutionNotifications: all }] = told.runs[0].invocations;
    assert.equal(executionSuccessful, false);
    assert.deepEqual(all[0], {
      level: 'error',
      message: { text: 'The rules of --custom were not evaluated: it is not JSON' },
    });
  });

  it('the SARIF report follows the standard in its version, rule indexes and levels', () => {
    assert.equal(log.version, '2.1.0');
    assert.equal(tool.driver.name, 'Vakt');
    for (const { ruleId, ruleIndex, kind, level } of results as Result[]) {
      assert.equal(tool.driver.rules[ruleIndex].id, ruleId);
      assert.ok(kind === 'fail' || level === 'none'); // 3.27.10
    }
  });

  it('the SARIF report contains the kind, level and location of each result', () => {
    assert.deepEqual(
      (results as Result[]).map(({ kind, level }) => [kind, level]),
      [
        ['fail', 'error'],
        ['open', 'none'],
        ['pass', 'none'],
        ['notApplicable', 'none'],
      ],
    );
    const artifactLocation = { uri: 'etc/ssh/sshd_config', uriBaseId: 'ROOT' };
    assert.deepEqual(results[2].locations, [{ physicalLocation: { artifactLocation, region: { startLine: 12 } } }]);
    assert.equal(results[1].locations, undefined);
  });

  it('the SARIF report lists the rules that could not be evaluated, and the evidence', () => {
    const [{ toolExecutionNotifications: notifications }] = invocations;
    assert.deepEqual(
      notifications.map(({ message }: { message: { text: string } }) => message.text),
      ['Not root.', 'Not judged: EACCES'],
    );
    assert.equal(properties.evidence.treeSha256, 'cd'.repeat(32));
    assert.equal(tool.driver.properties.ruleSetSha256, 'ab'.repeat(32));
  });
});

describe('The report of a scan as JUnit XML', () => {
  const xml = junitReport(SCANNED);

  it('the JUnit report counts results by category and names the tree', () => {
    const begin =
      '<testsuite name="ssh" package="vakt.baseline" id="0" tests="3" failures="1" errors="1" skipped="0" time="0"';
    assert.ok(xml.includes(`${begin} timestamp="2026-05-01T12:34:56" hostname="${SCANNED.evidence?.madeOn}">`), xml);
    assert.match(
      xml,
      /<testsuite name="cron" package="vakt\.baseline" id="1" tests="1" failures="0" errors="0" skipped="1"/,
    );
    assert.match(xml, /<property name="Subject" value="\/srv\/image"\/>/);
    assert.match(xml, /<property name="SHA-256 of the tree" value="(?:cd){32}"\/>/);
  });

  it('the JUnit report contains the limits of the scan, and an error if the custom rules were rejected', () => {
    assert.match(xml, /<property name="Limit" value="Not root\."\/>/);
    const refused = junitReport({ ...SCANNED, report: { ...SCANNED.report, customChecksRefused: 'it is not JSON' } });
    assert.match(refused, /<testsuite name="custom" package="vakt\.baseline" id="2" tests="1" failures="0" errors="1"/);
    assert.match(refused, /name="The rules of --custom" time="0"><error message="not evaluated: it is not JSON"/);
  });

  it('the JUnit report has exactly the elements and attributes of the Ant and Jenkins xUnit schemas', () => {
    const elements = [...xml.matchAll(/<([a-z-]+)((?: [a-z]+="[^"]*")*)\/?>/g)].map(([, name, attributes = '']) =>
      [name, ...[...attributes.matchAll(/ ([a-z]+)=/g)].map(([, attribute]) => attribute)].join(' '),
    );
    assert.deepEqual([...new Set(elements)].sort(), [
      'error message type',
      'failure message type',
      'properties',
      'property name value',
      'skipped message',
      'system-err',
      'system-out',
      'testcase classname name time',
      'testsuite name package id tests failures errors skipped time timestamp hostname',
      'testsuites',
    ]);
    for (const suite of xml.split('<testsuite ').slice(1))
      assert.match(
        suite,
        /^[^>]*>\n<properties>.*<\/properties>\n(?:<testcase .*\n(?!<sys)|[^<].*\n)*<testcase .*\n<system-out\/>\n<system-err\/>\n<\/testsuite>/,
      );
  });

  it('the JUnit report has a test case for each rule and escapes its text', () => {
    assert.match(
      xml,
      /<testcase classname="ssh" name="ssh\.a: A holds" time="0"><failure message="found &lt;yes&gt; &amp; &quot;no&quot;·" type="Critical">/,
    );
    assert.match(xml, /name="ssh\.b: A holds" time="0"><error message="not evaluated: EACCES" type="Warning">/);
    assert.match(xml, /name="ssh\.c: A holds" time="0"\/>/);
    assert.match(xml, /name="cron\.d: A holds" time="0"><skipped message="no cron"\/><\/testcase>/);
  });
});

describe('vakt baseline, for pipelines', () => {
  let root: string;
  let out: string[];
  let world: World;
  beforeEach(() => {
    root = temporaryFolder();
    out = [];
    world = { stdout: (line) => out.push(line), stderr: () => {}, environment: {}, signal, terminal: false };
  });

  it('baseline rejects a folder that is not a root tree', async () => {
    await assert.rejects(
      run(['--root', root], world),
      (error) =>
        error instanceof UsageError &&
        /is not a root file system: it has none of etc, usr, bin, lib, sbin; name the folder/.test(error.message),
    );
  });

  it('baseline writes JUnit and SARIF reports in addition to JSON, with the same evidence', async function () {
    this.timeout(120_000);
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    const [junit, sarif] = [join(temporaryFolder(), 'a.xml'), join(temporaryFolder(), 'a.sarif')];
    await run(['--root', root, '--digest', '--json', '--fail-on', 'never', '--junit', junit, '--sarif', sarif], world);
    const { outcomes, evidence } = JSON.parse(out.join('\n'));
    assert.match(evidence.treeSha256, /^[0-9a-f]{64}$/);
    const log = JSON.parse(readFileSync(sarif, 'utf8'));
    assert.deepEqual(faultsOfSarif(log), []);
    const [{ results, properties }] = log.runs;
    assert.equal(results.length, outcomes.length);
    assert.deepEqual(properties.evidence, evidence);
    assert.ok(readFileSync(junit, 'utf8').includes(evidence.treeSha256));
  });

  const except = (value: unknown): string => {
    const file = join(temporaryFolder(), 'exceptions.json');
    writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
    return file;
  };

  it('baseline skips a rule until its exception expires, and reports the reason', async function () {
    this.timeout(120_000);
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    const file = except([
      { name: 'file.etc-passwd', reason: 'owned by the build user', expires: '9999-12-31' },
      { name: 'file.etc-group', reason: 'for the pilot', expires: '2025-01-01' },
    ]);
    const rules = ['file.etc-passwd', 'file.etc-group'];
    await run(['--root', root, '--json', '--fail-on', 'never', '--exceptions', file, ...rules], world);
    const { outcomes, exceptions, limits } = JSON.parse(out.join('\n'));
    const [passwd, group] = rules.map((name) => outcomes.find(({ rule }: CheckOutcome) => rule === name));
    assert.deepEqual([passwd.result, passwd.reason], ['skip', 'exception until 9999-12-31: owned by the build user']);
    assert.doesNotMatch(group.reason ?? '', /exception/);
    assert.deepEqual(
      exceptions.map(({ isExpired }: { isExpired: boolean }) => isExpired),
      [false, true],
    );
    assert.ok(limits.includes('The exception for file.etc-group expired on 2025-01-01: it is evaluated again.'));
  });

  for (const [what, value, message] of [
    ['without a reason', [{ name: 'ssh', expires: '2027-01-01' }], /0\.reason/],
    ['without an end date', [{ name: 'ssh', reason: 'why' }], /0\.expires/],
    [
      'with two end dates',
      '[{ "name": "ssh", "reason": "why", "expires": "2027-01-01", "expires": "9999-12-31" }]',
      /has expires twice in one object/,
    ],
    ['with an invalid date', [{ name: 'ssh', reason: 'why', expires: '2027-06-31' }], /0\.expires must be a date/],
    [
      'with an unknown member',
      [{ name: 'ssh', reason: 'why', expires: '2027-06-30', until: 1 }],
      /0\.until is not known/,
    ],
    ['that are not a list', {}, /the whole must be a list/],
    ['that are not JSON', '[', /is not JSON/],
  ] as const) {
    it(`baseline rejects exceptions ${what}`, async () => {
      mkdirSync(join(root, 'etc'));
      const call = run(['--root', root, '--exceptions', except(value)], world);
      await assert.rejects(call, (error) => error instanceof UsageError && message.test(error.message));
    });
  }

  it('baseline rejects an exception for an unknown rule', async () => {
    mkdirSync(join(root, 'etc'));
    const file = except([{ name: 'ssh.nothing', reason: 'why', expires: '9999-12-31' }]);
    await assert.rejects(run(['--root', root, '--exceptions', file], world), UsageError);
  });

  it('baseline rejects --digest for a running system', () => assert.rejects(run(['--digest'], world), UsageError));
});
