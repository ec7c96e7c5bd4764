import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findTool } from '../../../src/agent/host/run-tool.ts';
import { METRICS, UP } from '../../../src/agent/status/openmetrics.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

const TOP = new URL('../../../../', import.meta.url).pathname;
const RULES = join(TOP, 'config', 'prometheus-rules.yml');
const DAY = 1_440;

/** An alert, and series that raise it: values once a minute, in the notation of promtool. */
interface Case {
  readonly alert: string;
  readonly series: string;
  readonly values: string;
  /** The minute in which it must be firing, and one in which it must not. */
  readonly firing: number;
  readonly quiet: number;
}

const CASES: readonly Case[] = [
  { alert: 'VaktDown', series: 'vakt_up', values: '1x9 0x20', firing: 20, quiet: 12 },
  { alert: 'VaktSilent', series: 'vakt_up', values: '1x9 _x60', firing: 40, quiet: 9 },
  { alert: 'VaktAbsent', series: 'vakt_up', values: '1x9 _x60', firing: 40, quiet: 9 },
  {
    alert: 'VaktFileOld',
    series: 'node_textfile_mtime_seconds{file="/var/lib/node/vakt.prom"}',
    values: '0x60',
    firing: 20,
    quiet: 9,
  },
  { alert: 'VaktDegraded', series: 'vakt_state{state="degraded"}', values: '0x9 1x60', firing: 40, quiet: 20 },
  { alert: 'VaktDisconnected', series: 'vakt_hub_connected', values: '1x9 0x90', firing: 90, quiet: 60 },
  {
    alert: 'VaktSecurityAlert',
    series: 'vakt_alerts_total{severity="high"}',
    values: '0x9 1x60',
    firing: 12,
    quiet: 9,
  },
  {
    alert: 'VaktEventsDropped',
    series: 'vakt_events_dropped_total{event="Login",reason="diskFull"}',
    values: '0x9 1x60',
    firing: 12,
    quiet: 9,
  },
  {
    alert: 'VaktCredentialExpires',
    series: 'vakt_credential_expiry_timestamp_seconds',
    values: `${8 * DAY * 60}x${2 * DAY}`,
    firing: DAY + 70,
    quiet: DAY - 1,
  },
];

describe('The alert rules for Prometheus', function () {
  this.timeout(60_000);
  const rules = readFileSync(RULES, 'utf8');
  const alerts = [...rules.matchAll(/alert: (\w+)/g)].map(([, name]) => name);

  before(function () {
    require(this, findTool('promtool') === undefined ? 'there is no promtool' : undefined);
  });

  const promtool = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(findTool('promtool') ?? '', args, { encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
  };

  it('refer to metrics of the agent, and are all documented and tested', () => {
    const metrics = [UP, ...METRICS].map(({ name, type }) => (type === 'counter' ? `${name}_total` : name));
    for (const [name] of rules.matchAll(/\bvakt_\w+/g)) assert.ok(metrics.includes(name), name);
    const documented = [...readFileSync(join(TOP, 'docs', 'metrics.md'), 'utf8').matchAll(/^\| `(Vakt\w+)`/gm)];
    assert.deepEqual(
      documented.map(([, name]) => name),
      alerts,
    );
    assert.deepEqual(
      CASES.map(({ alert }) => alert),
      alerts,
    );
  });

  it('pass the check of promtool', () => promtool('check', 'rules', RULES));

  for (const { alert, series, values, firing, quiet } of CASES)
    it(`${alert} fires when it should, and not before`, () => {
      const at = (minute: number, count: number) => ({
        expr: `count(ALERTS{alertname="${alert}",alertstate="firing"}) or vector(0)`,
        eval_time: `${minute}m`,
        exp_samples: [{ labels: '{}', value: count }],
      });
      const file = join(temporaryFolder(), `${alert}.yml`);
      const test = {
        interval: '1m',
        input_series: [{ series, values }],
        promql_expr_test: [at(quiet, 0), at(firing, 1)],
      };
      writeFileSync(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: '1m', tests: [test] }));
      promtool('test', 'rules', file);
    });
});
