import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { memoRule, syscallRules } from '../../src/agent/linux/audit/rules.ts';
import { type AuditStatus, formatSettings, RUNNING } from '../../src/agent/linux/audit/status.ts';
import { abisOf } from '../../src/agent/linux/audit/syscalls.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { serveControlSocket } from '../../src/core/base/control-socket.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { Recorder } from './recorder.ts';

const MAIN = new URL('../../src/main.js', import.meta.url).pathname;

describe('vakt remove-rules', () => {
  let control: AuditControl;
  let atFirst: AuditStatus;
  let folder: string;
  const environment = () => ({ ...process.env, VAKT_CONTROL_SOCKET: join(folder, 'control.sock') });
  /** Any valid identity will do: the path of the socket comes from the environment. */
  const identity = { VAKT_IDENTITY__KIND: 'connectionString', VAKT_IDENTITY__FILE: '/nonexistent' };
  const run = () =>
    spawnSync(process.execPath, [MAIN, 'remove-rules'], { encoding: 'utf8', env: { ...environment(), ...identity } });
  const agentRules = async () => (await control.rules()).filter((rule) => rule.ours);

  before(async function () {
    require(this, await missingForAudit());
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    atFirst = await control.status();
  });

  /** Sets audit up like an agent that was killed. */
  beforeEach(async () => {
    folder = temporaryFolder();
    const found = { ...RUNNING, enabled: 0, backlogLimit: 64, backlogWaitTime: 15 };
    await control.addRule(memoRule(formatSettings(found)));
    for (const rule of syscallRules([{ syscalls: ['execve'] }], abisOf())) await control.addRule(rule);
    await control.set(RUNNING);
  });
  afterEach(async () => {
    for (const { data } of await agentRules()) await control.deleteRule(data);
    const { enabled, failure, backlogLimit, backlogWaitTime } = atFirst;
    await control.set({ enabled, failure, backlogLimit, backlogWaitTime });
  });
  after(() => control?.close());

  it('restores the settings that audit had before the killed agent', async () => {
    const { status, stdout, stderr } = run();
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /^3 rules removed\.\n$/);
    assert.deepEqual(await agentRules(), []);
    const { enabled, backlogLimit, backlogWaitTime } = await control.status();
    assert.deepEqual({ enabled, backlogLimit, backlogWaitTime }, { enabled: 0, backlogLimit: 64, backlogWaitTime: 15 });
    assert.equal(run().stdout, '0 rules removed.\n');
  });

  it('does nothing while an agent runs', async () => {
    const close = await serveControlSocket(join(folder, 'control.sock'), { '/status': () => ({}) });
    const child = spawn(process.execPath, [MAIN, 'remove-rules'], {
      env: { ...environment(), ...identity },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    await close();
    assert.equal(status, 1);
    assert.match(errors, /an agent is running.*\n.*Stop the agent instead.*AGENT_RUNNING/);
    assert.equal((await agentRules()).length, 3);
  });

  it('does nothing while an agent with another configuration is the audit daemon', async () => {
    const source = new AuditSource({
      rules: () => [{ syscalls: ['execve'] }],
      sink: new Recorder(),
      clock: systemClock,
      log: quietLog(),
    });
    await source.open();
    try {
      const before = (await agentRules()).length;
      const { status, stderr } = run();
      assert.equal(status, 1);
      assert.match(stderr, /process \d+ is an agent, .* needs its rules.*\n.*AGENT_RUNNING/);
      assert.equal((await agentRules()).length, before);
    } finally {
      await source.close();
    }
  });

  it('fails for an ordinary user and names root in the remedy', () => {
    const { status, stderr } = spawnSync(
      'setpriv',
      ['--reuid=65534', '--clear-groups', '--bounding-set=-all', process.execPath, MAIN, 'remove-rules'],
      { encoding: 'utf8', env: { ...environment(), ...identity, VAKT_CONTROL_SOCKET: '/nonexistent/vakt.sock' } },
    );
    assert.equal(status, 1);
    assert.match(stderr, /Use: sudo vakt remove-rules \(AUDIT_UNAVAILABLE\)/);
  });
});
