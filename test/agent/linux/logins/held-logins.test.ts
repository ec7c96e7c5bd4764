import assert from 'node:assert/strict';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import type { AuditEvent } from '../../../../src/agent/linux/audit/event.ts';
import { AuditLogins } from '../../../../src/agent/linux/logins/audit-logins.ts';
import { HeldLogins } from '../../../../src/agent/linux/logins/held-logins.ts';
import { Logins } from '../../../../src/agent/linux/logins/logins.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { LoginSeen, StreamSink } from '../../../../src/core/contract/streams.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
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

describe('HeldLogins', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'held-logins.json');
  });

  it('reads the logins back unchanged from a file that only its owner can read', () => {
    new HeldLogins(path).write([login]);
    assert.deepEqual(new HeldLogins(path).read(), { logins: [login], unusable: 0 });
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('leaves no file if no logins are held', () => {
    new HeldLogins(path).write([login]);
    new HeldLogins(path).write([]);
    assert.equal(existsSync(path), false);
  });

  it('returns none without a file', () => {
    assert.deepEqual(new HeldLogins(path).read(), { logins: [], unusable: 0 });
  });

  for (const [text, unusable] of [
    ['', 1],
    ['x', 1],
    ['null', 1],
    ['{}', 1],
    ['[]', 0],
    ['[1, null, {}]', 3],
    [`[${JSON.stringify({ ...login, pid: -1 })}]`, 1],
    [`[${'1,'.repeat(1_499)}1]`, 1_500],
    [`["${'x'.repeat(3 * 1024 * 1024)}"]`, 1],
  ] as const) {
    it(`returns none and counts at least ${unusable} lost if the file contains ${text.slice(0, 20)}`, () => {
      writeFileSync(path, text);
      assert.deepEqual(new HeldLogins(path).read(), { logins: [], unusable });
    });
  }

  it('skips broken entries, and never throws', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        writeFileSync(path, JSON.stringify([value, login]));
        const { logins, unusable } = new HeldLogins(path).read();
        assert.deepEqual(logins.at(-1), login);
        assert.equal(logins.length + unusable, 2);
      }),
      { numRuns: fuzzRuns(100) },
    );
  });

  describe('reads all logins back, regardless of the records:', () => {
    const refusal = (pid: number, text: string, fields: AuditEvent['fields'] = {}): AuditEvent => ({
      time: login.time,
      serial: pid,
      record: 'USER_LOGIN',
      success: false,
      fields: {
        pid: String(pid),
        op: 'login',
        exe: `/${text}/sshd`,
        acct: text,
        addr: `fe80::1%${text}`,
        hostname: text,
        terminal: text,
        ...fields,
      },
    });
    const reporterOf = (pid: number) => ({ pid, executable: '\x01'.repeat(4_000), containerId: 'f'.repeat(64) });

    for (const [what, text] of [
      ['long ones', 'u'.repeat(8_500)],
      ['control characters', '\x01'.repeat(8_500)],
      ['no UTF-8', '\ufffd'.repeat(8_500)],
      ['half a character at the end of what is kept', 'x'.repeat(511) + '\u{1f600}'.repeat(2_000)],
      ['nothing', ''],
    ] as const) {
      it(what, () => {
        const logins = new AuditLogins({ reporterOf });
        const reported = [...logins.accept([refusal(1, 'root')])];
        for (let pid = 2; pid <= 600; pid += 1) reported.push(...logins.accept([refusal(pid, text)]));
        const held = logins.held();
        assert.ok(
          held.some(({ userName }) => userName === 'root') || reported.some(({ userName }) => userName === 'root'),
        );
        assert.equal(reported.length + held.length, 600);
        new HeldLogins(path).write(held);
        assert.deepEqual(new HeldLogins(path).read(), { logins: held, unusable: 0 });
        assert.ok(statSync(path).size < 1024 * 1024, `${statSync(path).size} bytes are written for each change`);
      });
    }

    it('keeps short logins when long ones need space', () => {
      const logins = new AuditLogins();
      const reported = [...logins.accept([refusal(1, 'root')])];
      for (let pid = 2; pid <= 200; pid += 1) reported.push(...logins.accept([refusal(pid, '\x01'.repeat(8_500))]));
      assert.ok(reported.length > 0);
      assert.equal(logins.held()[0]?.pid, 1);
    });

    it('stores names that become known while the logins wait', () => {
      const logins = new AuditLogins({ reporterOf });
      for (let pid = 1; pid <= 256; pid += 1) logins.accept([refusal(pid, '', { acct: '?', exe: '/usr/sbin/sshd' })]);
      for (let pid = 1; pid <= 256; pid += 1) logins.accept([refusal(pid, '\x01'.repeat(8_500))]);
      new HeldLogins(path).write(logins.held());
      assert.deepEqual(new HeldLogins(path).read(), { logins: logins.held(), unusable: 0 });
      assert.ok(statSync(path).size < 1024 * 1024);
    });
  });

  describe('after the agent was killed', () => {
    let reported: LoginSeen[];
    let dropped: [string, string, number][];
    const sink = {
      accept: (_stream: string, records: readonly LoginSeen[]) => reported.push(...records),
      drop: (...loss: [string, string, number]) => dropped.push(loss),
    } as unknown as StreamSink;
    const start = () => {
      const log = pino({ level: 'silent' });
      const auditLog = 'var/log/audit/audit.log';
      return new Logins({ sink, clock: systemClock, log, hostRoot: folder, auditLog, stateDirectory: folder });
    };
    const follow = { isWanted: true, isFromAudit: true };

    beforeEach(() => {
      reported = [];
      dropped = [];
    });
    afterEach(function () {
      if (this.currentTest?.title.includes('counts') !== true) assert.deepEqual(dropped, []);
    });

    it('counts unreadable logins once', async () => {
      writeFileSync(path, JSON.stringify([{ ...login, pid: -1 }, login, 7]));
      const next = start();
      await next.follow(follow);
      await next.close();
      assert.deepEqual(reported, [login]);
      assert.deepEqual(dropped, [['logins', 'killed', 2]]);
      const third = start();
      await third.follow(follow);
      await third.close();
      assert.equal(dropped.length, 1);
    });

    it('reports them in the next run, once, with the same time and serial', async () => {
      const killed = start();
      await killed.follow(follow);
      killed.accept(eventsOf(golden['ssh-wrong-key'] ?? []).slice(0, 1));
      killed.expire();
      assert.deepEqual(reported, []);

      const next = start();
      await next.follow(follow);
      assert.equal(reported.length, 1);
      const [{ success, userName, serial } = {} as LoginSeen] = reported;
      assert.deepEqual({ success, userName }, { success: false, userName: 'alice' });
      assert.equal(serial, eventsOf(golden['ssh-wrong-key'] ?? [])[0]?.serial);
      await next.close();

      const third = start();
      await third.follow(follow);
      assert.equal(reported.length, 1);
      await third.close();
    });

    it('reports them once if the agent exits normally', async () => {
      const first = start();
      await first.follow(follow);
      first.accept(eventsOf(golden['ssh-wrong-key'] ?? []).slice(0, 1));
      first.expire();
      await first.close();
      assert.equal(reported.length, 1);
      const next = start();
      await next.follow(follow);
      await next.close();
      assert.equal(reported.length, 1);
    });
  });
});
