import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findTool } from '../../../src/agent/host/run-tool.ts';
import { EXIT_STATUS } from '../../../src/core/base/errors.ts';
import { suiteFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

const CONFIG = new URL('../../../../config/', import.meta.url).pathname;
const UNITS = ['vakt.service', 'vakt.socket'];
/** Of `systemd-analyze security`, in tenths. */
const WORST = 21;
const SYSTEM_UNITS = '/usr/lib/systemd/system';

interface Assessment {
  readonly set: boolean | null;
  readonly name: string;
  readonly json_field: string;
}

describe('The units of systemd in config/', () => {
  const unit = readFileSync(join(CONFIG, 'vakt.service'), 'utf8');
  const valuesOf = (setting: string) =>
    [...unit.matchAll(new RegExp(`^${setting}=(.*)$`, 'gm'))].flatMap(([, value = '']) => value.split(' '));
  const analyze = (...args: string[]) => spawnSync('systemd-analyze', [...args, '--no-pager'], { encoding: 'utf8' });

  before(function () {
    require(this, findTool('systemd-analyze') === undefined ? 'there is no systemd-analyze' : undefined);
  });

  it('give the agent a /proc of its own, in which no user can keep a folder locked', () => {
    assert.deepEqual(valuesOf('ProtectProc'), ['invisible']);
  });

  describe('with the agent installed', () => {
    let root: string;

    /** A system with the units, and something in the agent's place. */
    before(() => {
      root = suiteFolder();
      for (const folder of ['usr/bin', 'etc/systemd/system', 'usr/lib/systemd']) {
        mkdirSync(join(root, folder), { recursive: true });
      }
      cpSync(SYSTEM_UNITS, join(root, SYSTEM_UNITS), { recursive: true, verbatimSymlinks: true });
      for (const program of ['vakt', 'systemctl']) writeFileSync(join(root, 'usr/bin', program), '', { mode: 0o755 });
      for (const file of UNITS) copyFileSync(join(CONFIG, file), join(root, 'etc/systemd/system', file));
    });

    const verify = () => analyze('verify', '--man=no', `--root=${root}`, ...UNITS);

    it('systemd-analyze accepts the units without a warning', () => {
      const { status, stderr } = verify();
      assert.equal(stderr, '');
      assert.equal(status, 0);
    });

    it('would be complained about if a setting were misspelt', () => {
      const file = join(root, 'etc/systemd/system/vakt.service');
      writeFileSync(file, unit.replace('WatchdogSec=', 'WatchdogSecs='));
      assert.match(verify().stderr, /WatchdogSecs/);
      writeFileSync(file, unit);
    });
  });

  it(`expose no more than ${WORST / 10} of 10`, () => {
    const rate = (worst: number) =>
      analyze('security', '--offline=true', `--threshold=${worst}`, join(CONFIG, 'vakt.service')).status;
    assert.equal(rate(WORST), 0);
    assert.equal(rate(1), 1, 'every unit passes');
  });

  it('explain each setting that systemd marks as exposed', () => {
    const { stdout } = analyze('security', '--offline=true', '--json=short', join(CONFIG, 'vakt.service'));
    const exposed = (JSON.parse(stdout) as Assessment[]).filter(({ set }) => set === false);
    assert.ok(exposed.length > 5);
    const comments = unit
      .split('\n')
      .filter((line) => line.startsWith('#'))
      .join(' ');
    const names = new Set(exposed.flatMap(({ name }) => namesIn(name)));
    assert.deepEqual(
      [...names].filter((name) => !comments.includes(name)),
      [],
    );
  });

  it('the agent is not restarted only after errors that an operator must fix on the device', () => {
    const forGood = valuesOf('RestartPreventExitStatus').map(Number);
    assert.deepEqual(forGood, [2, EXIT_STATUS.Authentication, EXIT_STATUS['Local Configuration']]);
    assert.deepEqual(valuesOf('Restart'), ['always']);
  });

  it('give the agent the capabilities that its documentation names, and no others', () => {
    const documented = ['AUDIT_CONTROL', 'AUDIT_READ', 'NET_ADMIN', 'DAC_READ_SEARCH', 'SYS_PTRACE'];
    const names = documented.map((name) => `CAP_${name}`);
    assert.deepEqual(valuesOf('CapabilityBoundingSet'), names);
    assert.deepEqual(valuesOf('AmbientCapabilities'), names);
  });

  it('stop the agent only, which stops its child processes', () => assert.deepEqual(valuesOf('KillMode'), ['mixed']));

  it('never pass on a blocking socket', () => assert.deepEqual(valuesOf('NonBlocking'), ['yes']));
});

/** `CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)` is explained where its capabilities are, others by their name. */
function namesIn(name: string): string[] {
  const [setting = '', value = ''] = name.split(/[=~]+/);
  if (setting === 'CapabilityBoundingSet') return [value.replace('(', '').replace(/[*|].*/, '')];
  if (setting === 'RestrictAddressFamilies')
    return [...value.matchAll(/INET6|INET|NETLINK|UNIX/g)].map(([family]) => `AF_${family}`);
  return [setting.replace(/\/.*/, '')];
}
