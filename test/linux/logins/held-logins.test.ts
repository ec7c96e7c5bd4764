import assert from 'node:assert/strict';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { systemClock } from '../../../src/base/clock.ts';
import type { LoginSeen, StreamSink } from '../../../src/contract/sources.ts';
import { HeldLogins } from '../../../src/linux/logins/held-logins.ts';
import { Logins } from '../../../src/linux/logins/logins.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../support/folders.ts';
import { eventsOf, golden } from './golden.ts';

const login: LoginSeen = {
  time: new Date('2024-05-01T12:00:00.123Z'),
  serial: 7,
  operation: 'Login',
  success: true,
  pid: 4711,
  executable: '/usr/sbin/sshd',
  userId: 1000,
  userName: 'alice',
  remote: { address: '192.0.2.7', port: 50_000 },
  zone: 'eth0',
  remoteHost: 'host.example',
  localPort: 22,
  terminal: '/dev/pts/1',
  sessionId: '3',
  reporter: { pid: 4711, executable: '/usr/sbin/sshd', containerId: 'web' },
};

describe('logins that are held back', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'held-logins.json');
  });

  it('are read as they were written, by their owner alone', () => {
    new HeldLogins(path).write([login]);
    assert.deepEqual(new HeldLogins(path).read(), [login]);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('leave no file when there are none', () => {
    new HeldLogins(path).write([login]);
    new HeldLogins(path).write([]);
    assert.equal(existsSync(path), false);
  });

  for (const text of ['', 'x', 'null', '{}', '[1, null, {}]', `[${JSON.stringify({ ...login, pid: -1 })}]`]) {
    it(`are none where the file says ${text.slice(0, 20)}`, () => {
      writeFileSync(path, text);
      assert.deepEqual(new HeldLogins(path).read(), []);
    });
  }

  it('are read without what is broken beside them, and never throw', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        writeFileSync(path, JSON.stringify([value, login]));
        assert.deepEqual(new HeldLogins(path).read().at(-1), login);
      }),
      { numRuns: fuzzRuns(100) },
    );
  });

  describe('when the agent is killed', () => {
    let told: LoginSeen[];
    const sink = {
      accept: (_stream: string, records: readonly LoginSeen[]) => told.push(...records),
      drop: () => assert.fail('nothing is dropped'),
    } as unknown as StreamSink;
    const start = () => {
      const log = pino({ level: 'silent' });
      const auditLog = 'var/log/audit/audit.log';
      return new Logins({ sink, clock: systemClock, log, hostRoot: folder, auditLog, stateDirectory: folder });
    };
    const follow = { isWanted: true, isFromAudit: true };

    beforeEach(() => {
      told = [];
    });

    it('are told by the next one, once, and with the same time and serial', async () => {
      const killed = start();
      await killed.follow(follow);
      killed.accept(eventsOf(golden['ssh-wrong-key'] ?? []).slice(0, 1));
      killed.expire();
      assert.deepEqual(told, []);

      const next = start();
      await next.follow(follow);
      assert.equal(told.length, 1);
      const [{ success, userName, serial } = {} as LoginSeen] = told;
      assert.deepEqual({ success, userName }, { success: false, userName: 'alice' });
      assert.equal(serial, eventsOf(golden['ssh-wrong-key'] ?? [])[0]?.serial);
      await next.close();

      const third = start();
      await third.follow(follow);
      assert.equal(told.length, 1);
      await third.close();
    });

    it('are told once when it ends in peace', async () => {
      const first = start();
      await first.follow(follow);
      first.accept(eventsOf(golden['ssh-wrong-key'] ?? []).slice(0, 1));
      first.expire();
      await first.close();
      assert.equal(told.length, 1);
      const next = start();
      await next.follow(follow);
      await next.close();
      assert.equal(told.length, 1);
    });
  });
});
