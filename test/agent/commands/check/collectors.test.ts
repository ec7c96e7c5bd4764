import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { Finding } from '../../../../src/agent/commands/check/finding.ts';
import { skip } from '../../../harness/require.ts';
import { assertFinding, CheckBench } from './bench.ts';

const MAIN = new URL('../../../../src/main.js', import.meta.url).pathname;

describe('vakt check: collectors', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
    bench.configure();
  });
  afterEach(() => bench.close());

  const about = (findings: readonly Finding[], name: string) => findings.find(({ check }) => check === name);

  it('check tries each collector and reports its source and CPU time', async () => {
    const found = await bench.look('snapshots');
    assertFinding(about(found, 'SystemInformation'), 'ok', /^1 element in \d+ ms, \d+ ms CPU time$/);
    assertFinding(about(found, 'ListeningPorts'), 'ok', /CPU time, on, from sockDiag$/);
    assert.equal(about(found, 'MessageStatistics'), undefined);
  });

  it('check reports a collector that cannot read its source', async () => {
    mkdirSync(bench.path('host'));
    bench.configure({ hostRoot: 'host' });
    const found = await bench.look('snapshots');
    assertFinding(about(found, 'LocalUsers'), 'wrong', /SOURCE_UNREADABLE/, /\/etc\/passwd readable/);
    assertFinding(about(found, 'SystemInformation'), 'ok', /^1 element/);
  });

  it('check reports the sources of a running agent and their cost', async () => {
    const collectors = {
      LocalUsers: { state: 'on', source: 'nss' },
      ProcessCreate: { state: 'on', source: 'auditUnicast' },
      Login: { state: 'unavailable', reason: 'Give it CAP_AUDIT_READ.' },
    };
    await bench.run({ state: 'degraded', hub: { state: 'connected' }, collectors });
    const found = await bench.look('snapshots', 'Triggered events');
    assertFinding(about(found, 'LocalUsers'), 'ok', /^on, from nss$/);
    assertFinding(about(found, 'ProcessCreate'), 'ok', /^on, from auditUnicast \(3 audit records per program start\)$/);
    assertFinding(about(found, 'Login'), 'warn', /^unavailable$/, /CAP_AUDIT_READ/);
  });

  it('check without capabilities reports degraded sources and the capabilities that they need', function () {
    if (process.getuid?.() !== 0) skip(this, 'taking capabilities away takes root');
    const check = [process.execPath, MAIN, 'check', '--json', '--config', bench.path('agent.json')];
    let lines = '';
    try {
      lines = execFileSync('setpriv', ['--bounding-set=-all', ...check], { encoding: 'utf8' });
    } catch (error) {
      lines = (error as { stdout: string }).stdout; // status 1: nothing listens at the hub's port
    }
    const found = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Finding);
    assertFinding(about(found, 'audit'), 'note', /can't be read: EPERM/, /CAP_AUDIT_CONTROL/);
    assertFinding(about(found, 'capabilities'), 'note', /^this user lacks CAP_AUDIT_CONTROL/, /unit/);
    assertFinding(
      about(found, 'ProcessCreate'),
      'warn',
      /from (?:auditLog|procConnector|procPolling) \(/,
      /CAP_AUDIT_CONTROL/,
    );
    assertFinding(
      about(found, 'ConnectionCreate'),
      'warn',
      /^(?:unavailable|degraded, from auditLog)/,
      /CAP_AUDIT_CONTROL/,
    );
  });
});
