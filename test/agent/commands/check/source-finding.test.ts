import assert from 'node:assert/strict';
import { chmodSync, rmSync } from 'node:fs';
import type { Finding } from '../../../../src/agent/commands/check/finding.ts';
import { run } from '../../../../src/agent/commands/check.ts';
import { worldOf } from '../world.ts';
import { assertFinding, CheckBench } from './bench.ts';

describe('vakt check does not contradict itself', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
    bench.configure();
  });
  afterEach(() => bench.close());

  it('check reports a missing or exposed key only once', async () => {
    chmodSync(bench.path('module.key'), 0o644);
    assert.deepEqual(
      (await bench.look('identity', 'secrets')).map(({ state }) => state),
      ['wrong'],
    );
    rmSync(bench.path('module.key'));
    const found = await bench.look('identity', 'secrets');
    assert.deepEqual(
      found.map(({ state }) => state),
      ['wrong'],
    );
    assertFinding(found[0], 'wrong', /SECRET_FILE_MISSING/, /umask 077/);
  });

  for (const [state, expected] of [
    ['degraded', 'warn'],
    ['paused', 'note'],
    ['stopping', 'note'],
  ] as const) {
    it(`check has a finding ${expected} for an agent that is ${state}`, async () => {
      await bench.run({ state, version: '1', hub: { state: 'connected' }, collectors: {} });
      assertFinding(await bench.lookAt('running agent'), expected, new RegExp(`^${state}`), /vakt status$/);
    });
  }
});

describe('vakt check without a configuration', () => {
  it('check reports a missing configuration, and still checks the system', async () => {
    const lines: string[] = [];
    const status = await run(
      ['--json', '--config', '/nonexistent/agent.json'],
      worldOf((line) => lines.push(line)),
    );
    assert.equal(status, 1);
    const findings = lines.map((line) => JSON.parse(line) as Finding);
    assertFinding(findings[0], 'wrong', /CONFIG_FILE_MISSING/, /Create it/);
    const names = findings.map(({ check }) => check);
    for (const wanted of ['clock', 'capabilities', 'audit', 'SystemInformation', 'ProcessCreate', 'open files']) {
      assert.ok(names.includes(wanted), `${wanted} is not among ${names}`);
    }
    for (const unwanted of ['identity', 'secrets', 'hub', 'TLS', 'name']) assert.ok(!names.includes(unwanted));
  }).timeout(30_000);
});
