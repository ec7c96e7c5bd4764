import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { Native } from '../bench/starts.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { assertClosed, QUICK, TestBed } from '../integration/test-bed.ts';
import { Auditd } from './auditd.ts';
import { Connector } from './connector.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { missingForSshd, SshServer } from './sshd.ts';

/** Alongside auditd, their records, seven each, fit into the receive buffer of a listener that gets no CPU in that time. */
const STARTS = { auditUnicast: 2_000, auditMulticast: 800 };
const DESIRED = {
  ...QUICK,
  // Enough for events of other programs on the machine.
  maxLocalCacheSizeInBytes: { value: 64_000_000 },
};

/** Counts the occurrences of each string. */
function tally(all: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of all) counts[one] = (counts[one] ?? 0) + 1;
  return counts;
}

/** Compares what happens on the machine with the events at the hub; the agent runs as a process with all its parts. */
describe('The whole agent on the real kernel', function () {
  this.timeout(240_000);
  let control: AuditControl;
  let native: Native;
  let connector: Connector;
  let sshd: SshServer;

  before(async function () {
    require(this, await missingForAudit());
    require(this, missingForSshd());
    require(this, existsSync('/usr/sbin/auditd') ? undefined : 'auditd is not installed');
    native = new Native();
    connector = new Connector();
    require(this, connector.path === undefined ? 'there is no C compiler' : undefined);
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    sshd = await SshServer.start();
  });
  after(async () => {
    await sshd?.stop();
    connector?.remove();
    native?.remove();
    control?.close();
  });

  for (const source of ['auditUnicast', 'auditMulticast'] as const) {
    const count = STARTS[source];
    describe(source === 'auditUnicast' ? 'without auditd' : 'alongside auditd', () => {
      let auditd: Auditd | undefined;
      let bed: TestBed;

      before(async () => {
        if (source === 'auditMulticast') {
          auditd = new Auditd(control, suiteFolder());
          await auditd.start();
        }
      });
      after(async () => {
        await auditd?.remove();
      });

      it('reports each start, exit, connection and login exactly once', async () => {
        bed = await TestBed.open({ desired: DESIRED });
        bed.writeConfiguration({ collectors: { loopbackConnections: true }, detections: { enabled: true } });
        try {
          const agent = bed.startAgent();
          const ready = await agent.waitForStatus(
            ({ collectors, configuration }) =>
              collectors.ProcessCreate?.source === source &&
              collectors.ProcessTerminate?.source === 'procConnector' &&
              configuration.desiredVersion === 2,
          );
          assert.equal(ready.collectors.ConnectionCreate?.source, source);
          assert.equal(ready.collectors.Login?.source, source);

          const { marker } = await native.start(count, 1_000);
          const starts = () =>
            bed.elements('ProcessCreate').filter(({ CommandLine }) => String(CommandLine).includes(marker));
          await bed.waitForEvents(() => starts().length >= count).catch(() => {}); // the assertions below show more
          const killed = spawnSync('/bin/sh', ['-c', 'kill -KILL $$']).pid;
          const failed = spawnSync('/bin/sh', ['-c', 'exit 7']).pid;
          const made = await connector.make(50, ['tcp.v4', 'tcp.v6', 'udp.v4', 'udp.v6'], { hold: true });
          await made.release();
          await sshd.visit({ command: ['true'] });
          await sshd.visit({ passwords: ['wrong'] });

          const connections = () => bed.elements('ConnectionCreate').filter(({ ProcessId }) => ProcessId === made.pid);
          const ends = () => bed.elements('ProcessTerminate');
          const wanted = () => [
            ends().filter(({ Executable }) => Executable === native.program).length >= count,
            connections().length >= made.ends.length,
            bed.elements('Login').length >= 3,
          ];
          await bed.waitForEvents(() => !wanted().includes(false), seconds(60)).catch(() => {});
          await systemClock.sleep(seconds(3)); // no further event may arrive

          const status = await agent.status();
          assert.equal(status.delivery.dropped.kernel ?? 0, 0, JSON.stringify(status.delivery.dropped));
          assertClosed(status);
          assert.equal(starts().length, count);
          const pids = new Set(starts().map(({ ProcessId }) => ProcessId));
          assert.equal(
            ends().filter(({ ProcessId, Executable }) => pids.has(ProcessId) && Executable === native.program).length,
            count,
          );
          const endOf = (pid: number) => ends().filter(({ ProcessId }) => ProcessId === pid);
          assert.deepEqual(
            endOf(killed).map(({ ExitStatus, ExtraDetails }) => [ExitStatus, ExtraDetails]),
            [[137, { Signal: 'SIGKILL' }]],
          );
          assert.deepEqual(
            endOf(failed).map(({ ExitStatus }) => ExitStatus),
            [7],
          );

          assert.deepEqual(
            tally(connections().map((c) => `${c.Direction} ${c.Protocol} ${c.RemoteAddress} ${c.RemotePort}`)),
            tally(made.ends.map((end) => `${end.direction} ${end.protocol} ${end.address} ${end.remotePort}`)),
          );

          const logins = bed
            .elements('Login')
            .map(({ Operation, Result, UserName }) => `${Operation} ${Result} ${UserName}`);
          assert.deepEqual(logins.sort(), [
            `Login Success ${sshd.user}`,
            `Logout Success ${sshd.user}`,
            `PAM:authentication Fail ${sshd.user}`,
          ]);
          if (auditd !== undefined) assert.equal((await control.status()).pid, auditd.pid);
        } finally {
          await bed.close();
        }
        assert.deepEqual(
          (await control.rules()).filter(({ ours }) => ours),
          [],
        );
      });
    });
  }
});
