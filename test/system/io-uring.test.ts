import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { isRingRule, KEY } from '../../src/agent/linux/audit/rules.ts';
import { LinuxEvents } from '../../src/agent/linux/events.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import type { LogLine } from '../../src/core/base/log.ts';
import type { ConnectionSeen } from '../../src/core/contract/streams.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { missingForAudit } from './missing-for-audit.ts';

const source = (name: string) => new URL(`../../../test/system/native/${name}.c`, import.meta.url).pathname;

describe('A program that uses io_uring', () => {
  let folder: string;
  let program: string;
  let connector: string;
  let server: Server;
  let events: LinuxEvents | undefined;
  let child: ChildProcess | undefined;
  let logged: LogLine[];
  let seen: ConnectionSeen[];

  before(async function () {
    folder = suiteFolder();
    program = join(folder, 'ring');
    connector = join(folder, 'ring-connect');
    require(this, await missingForAudit());
    const isBuilt = (path: string, name: string) => spawnSync('gcc', ['-o', path, source(name)]).status === 0;
    const areBuilt = isBuilt(program, 'ring') && isBuilt(connector, 'ring-connect');
    require(this, areBuilt ? undefined : 'there is no C compiler');
    const isAvailable = Number(spawnSync(program, { encoding: 'utf8' }).stdout) >= 0;
    require(this, isAvailable ? undefined : 'this kernel has no io_uring, or it is switched off');
    server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });

  beforeEach(async () => {
    logged = [];
    seen = [];
    events = new LinuxEvents({
      streams: () => new Set(['connections']),
      sink: {
        accept: (stream, records) => {
          if (stream === 'connections') seen.push(...(records as readonly ConnectionSeen[]));
        },
        drop: () => {}, // events of other processes may be lost
      },
      clock: systemClock,
      log: quietLog(logged),
      hostRoot: '/',
      loopback: true,
    });
    await events.start();
  });
  afterEach(async () => {
    await events?.stop();
    events = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    child = undefined;
  });
  after(() => server?.close());

  /** Waits as long as a duplicate would take to arrive. */
  const untilDuplicate = () => systemClock.sleep(milliseconds(600));

  it('is reported by one warning', async () => {
    const warnings = () => logged.filter(({ id }) => id === 'IO_URING_USED').map(({ message }) => message);
    for (let run = 0; run < 3; run += 1) spawnSync(program);
    await until('a warning', () => warnings().length > 0);
    await untilDuplicate();
    assert.equal(warnings().length, 1);
    assert.ok(warnings()[0]?.includes(`${program} (process `));
  });

  for (const how of [[], ['nonblock'], ['sqpoll'], ['sqpoll', 'nonblock']]) {
    it(`has each of its connections reported once, with options: ${how.join(', ') || 'none'}`, async () => {
      const { port } = server.address() as AddressInfo;
      child = spawn(connector, [...how, '127.0.0.1', String(port), '3'], { stdio: ['pipe', 'pipe', 'inherit'] });
      const { pid } = child;
      let output = '';
      child.stdout?.on('data', (text: Buffer) => {
        output += text.toString();
      });
      const made = () => seen.filter((connection) => connection.pid === pid);
      await until('three connections', () => made().length >= 3);
      await untilDuplicate();
      assert.equal(output, `ready ${pid}\n0\n0\n0\n`);
      assert.deepEqual(
        made().map(({ direction, remote, executable, byRing }) => [direction, remote.port, executable, byRing]),
        Array.from({ length: 3 }, () => ['Out', port, connector, true]),
      );
    });
  }

  it('needs two audit rules, which the agent removes when it stops', async () => {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    try {
      const rings = async () =>
        (await control.rules()).filter(({ data, key }) => isRingRule(data) && key === KEY).length;
      assert.equal(await rings(), 2);
      await events?.stop();
      assert.equal(await rings(), 0);
    } finally {
      control.close();
    }
  });
});
