import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import type { AuditStatus } from '../../src/agent/linux/audit/status.ts';
import { NETLINK_AUDIT, type NetlinkSocket, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { withoutKoffi } from '../harness/without-koffi.ts';
import { missingForAudit } from './missing-for-audit.ts';

/** The sockets that a unit with `ListenNetlink=audit 0` and `ListenNetlink=audit 1` passes on. */
const GROUPS = [0, 1];

describe('Sockets that a service manager passes on', () => {
  let control: AuditControl;
  let atFirst: AuditStatus;
  let sockets: NetlinkSocket[];
  let child: ChildProcess | undefined;
  const mark = `inherited-${process.pid}`;

  before(async function () {
    require(this, await missingForAudit());
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    atFirst = await control.status();
  });

  beforeEach(() => {
    sockets = GROUPS.map((groups) => openNetlink(NETLINK_AUDIT, { groups }));
  });

  afterEach(async () => {
    await kill();
    for (const socket of sockets) socket.close();
    for (const rule of await control.rules()) if (rule.ours) await control.deleteRule(rule.data);
    const { enabled, failure, backlogLimit, backlogWaitTime } = atFirst;
    await control.set({ enabled, failure, backlogLimit, backlogWaitTime });
  });

  after(() => control?.close());

  /** LISTEN_PID is only known in the new process, so a shell sets it. */
  const start = async (native: boolean) => {
    const node = [process.execPath, ...(native ? [] : ['--require', withoutKoffi()])];
    child = spawn(
      '/bin/sh',
      ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', ...node, 'dist/test/system/inherit-audit.js', mark],
      {
        stdio: ['ignore', 'pipe', 'inherit', ...sockets.map(({ fd }) => fd)],
        env: { ...process.env, LISTEN_FDS: String(sockets.length) },
      },
    );
    assert.ok(child.stdout);
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const words: string[] = [];
    let status: { source?: string; reason?: string } | undefined;
    const read = async () => {
      const line = String((await lines.next()).value);
      if (line.startsWith('{')) status = JSON.parse(line);
      else words.push(line);
    };
    while (status === undefined) await read();
    const next = async () => {
      while (words.length === 0) await read();
      return words.shift();
    };
    return { status, next };
  };
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const run = (word: string) => spawnSync('/bin/true', [mark, word]);

  it('suffice for an agent without native code, and buffer events while it is stopped', async () => {
    const first = await start(false);
    assert.equal(first.status.source, 'auditMulticast');
    assert.match(first.status.reason ?? '', /koffi/);
    run('one');
    assert.equal(await first.next(), 'one');
    await kill();
    run('two'); // no process reads, and the rules still exist
    const second = await start(false);
    assert.equal(await second.next(), 'two');
    run('three');
    assert.equal(await second.next(), 'three');
  });

  it('never register as the audit daemon, since the registration would survive the agent', async () => {
    const { status, next } = await start(true);
    assert.equal(status.source, 'auditUnicast');
    run('one');
    assert.equal(await next(), 'one');
    assert.equal((await control.status()).pid, child?.pid);
    await kill();
    run('two'); // at this record, a kernel thread finds that the audit daemon has exited
    await until('the slot to be free', async () => (await control.status()).pid === 0);
  });
});
