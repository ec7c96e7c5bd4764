import assert from 'node:assert/strict';
import { AccountActors } from '../../../../src/agent/detections/changes/account-actors.ts';
import { withHolders } from '../../../../src/agent/detections/changes/port-holders.ts';
import { SnapshotChanges } from '../../../../src/agent/detections/changes/snapshot-changes.ts';
import type { Ancestry, ProcessThen, StartMoment } from '../../../../src/core/contract/ancestry.ts';
import type { Payload } from '../../../../src/core/contract/event.ts';
import { processorTime } from '../../../harness/processor-time.ts';

const at = new Date('2026-05-01T12:00:00.000Z');

function changesOf(event: string, before: readonly Payload[], after: readonly Payload[]) {
  const changes = new SnapshotChanges();
  changes.accept({ event, at, rows: before, leftOut: 0 });
  return changes.accept({ event, at, rows: after, leftOut: 0 });
}

describe('Evidence of changes', () => {
  describe('of new listening ports', () => {
    const port = (LocalPort: string, Pid: string, Executable = '/usr/bin/nc'): Payload => ({
      Protocol: 'tcp',
      LocalAddress: '0.0.0.0',
      LocalPort,
      ExtraDetails: { UserId: '1000', Pid, Executable },
    });
    const since: StartMoment = { time: at.getTime() - 5_000, serial: 9 };
    const nc: ProcessThen = { pid: 7, executable: '/usr/bin/nc', commandLine: 'nc -l 4444', parentPid: 6, since };
    const bash: ProcessThen = { pid: 6, executable: '/usr/bin/bash', commandLine: 'bash -i', parentPid: 1 };
    const sleep: ProcessThen = { pid: 6, executable: '/usr/bin/sleep', commandLine: 'sleep 9', parentPid: 1 };
    /** The parent became `sleep` after it had started nc. */
    const ancestry: Ancestry = {
      processAt: (pid, { time }) => (pid === 7 ? nc : pid !== 6 ? undefined : time <= since.time ? bash : sleep),
    };
    const evidence = (after: readonly Payload[], before: readonly Payload[] = []) =>
      withHolders(changesOf('ListeningPorts', before, after), { rows: after, at }, ancestry).map(
        ({ fields, event: { payload } }) => [
          payload.LocalPort,
          payload.CommandLine,
          payload.ProcessId,
          payload.ParentProcessId,
          fields.ParentImage,
          fields.ParentCommandLine,
        ],
      );

    it('reports the process of a new port, its command and its parent at its start', () => {
      const found = ['nc -l 4444', 7, 6, '/usr/bin/bash', 'bash -i'];
      assert.deepEqual(evidence([port('4444', '7')]), [['4444', ...found]]);
      assert.deepEqual(evidence([port('4440-4444', '7')], [port('4440-4442', '7')]), [['4443-4444', ...found]]);
    });

    it('omits the process if it is unknown or its pid belongs to another program', () => {
      const none = [undefined, undefined, undefined, undefined, undefined];
      assert.deepEqual(evidence([port('4444', '8')]), [['4444', ...none]]);
      assert.deepEqual(evidence([port('4444', '7', '/usr/sbin/sshd')]), [['4444', ...none]]);
    });

    it('takes little time during a flood', function () {
      this.timeout(20_000);
      const rows = Array.from({ length: 12_000 }, (_, index) => port(String(1_025 + 2 * index), '7'));
      const changes = changesOf('ListeningPorts', [], rows);
      const used = processorTime();
      withHolders(changes, { rows, at }, ancestry);
      assert.ok(used() < 1_000, `${used()} ms`);
    });
  });

  describe('of changed accounts', () => {
    const account = (UserName: string): Payload => ({ UserName, UserId: '1', GroupNames: 'a', GroupIds: '1' });
    const start = (Executable: string, CommandLine: string, UserId = '0', LoginUserId = '1000'): Payload => ({
      Executable,
      CommandLine,
      UserId,
      ExtraDetails: { LoginUserId },
    });
    /** The command line of the actor of a new account `eve`, after these starts a second apart. */
    const actorOf = (...starts: readonly Payload[]) => {
      const actors = new AccountActors();
      starts.forEach((payload, index) => void actors.started(payload, at.getTime() - 1_000 * (starts.length - index)));
      const [change] = actors.named(changesOf('LocalUsers', [], [account('eve')]));
      return change?.event.payload;
    };

    it('reports the start that added an account, with its user and the note that it is inferred', () => {
      const { ActorInferred, ActorExecutable, ActorCommandLine, ActorUserId, ActorLoginUserId } =
        actorOf(start('/usr/sbin/useradd', 'useradd -m eve')) ?? {};
      assert.deepEqual(
        [ActorInferred, ActorExecutable, ActorCommandLine, ActorUserId, ActorLoginUserId],
        ['true', '/usr/sbin/useradd', 'useradd -m eve', '0', '1000'],
      );
    });

    it('prefers tools that name the account, then other tools, then writers of its files', () => {
      const useradd = start('/usr/sbin/useradd', 'useradd eve');
      const other = start('/usr/sbin/usermod', 'usermod -L bob');
      const writer = start('/usr/bin/bash', "bash -c echo 'eve:x:0:0::/:/bin/sh' >> /etc/passwd");
      assert.equal(actorOf(useradd, other, writer)?.ActorCommandLine, useradd.CommandLine);
      assert.equal(actorOf(other, writer)?.ActorCommandLine, other.CommandLine);
      assert.equal(actorOf(writer)?.ActorCommandLine, writer.CommandLine);
    });

    it('ignores starts of other users and other programs, and old starts', () => {
      assert.equal(actorOf(start('/usr/sbin/useradd', 'useradd eve', '1000'))?.ActorInferred, undefined);
      assert.equal(actorOf(start('/usr/bin/ls', 'ls'))?.ActorInferred, undefined);
      const late = Array.from({ length: 30 }, () => start('/usr/bin/ls', 'ls'));
      assert.equal(actorOf(start('/usr/sbin/useradd', 'useradd eve'), ...late)?.ActorInferred, undefined);
    });

    it("keeps root's start while another user floods set-uid tools", () => {
      const flood = Array.from({ length: 18 }, () => start('/usr/bin/passwd', 'passwd -S', '0', '2001'));
      assert.equal(actorOf(start('/usr/sbin/useradd', 'useradd eve'), ...flood)?.ActorCommandLine, 'useradd eve');
    });
  });
});
