import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { accessSync, realpathSync } from 'node:fs';
import { pino } from 'pino';
import { AuditSource } from '../../src/agent/linux/audit/audit-source.ts';
import { type AuditSink, USER_RECORDS } from '../../src/agent/linux/audit/event.ts';
import { AuditLogins } from '../../src/agent/linux/logins/audit-logins.ts';
import { LoginConnections } from '../../src/agent/linux/logins/login-connections.ts';
import { LoginFiles } from '../../src/agent/linux/logins/login-files.ts';
import { LoginReporters } from '../../src/agent/linux/logins/login-reporters.ts';
import { NLM_F_REQUEST } from '../../src/agent/linux/native/netlink/message.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { type Clock, systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import type { LoginSeen, StreamSink, Streams } from '../../src/core/contract/streams.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { missingForSshd, SshServer } from './sshd.ts';
import { atTerminal } from './terminal.ts';

const WRONG = 'wrong';
const log = pino({ level: 'silent' });
/** To this clock all is done in no time: a busy machine would use up the budget of time for the first logins. */
const timeless: Clock = { ...systemClock, monotonic: () => milliseconds(0) };
const connections = new LoginConnections({ clock: timeless, proc: '/proc' });

const reporters = new LoginReporters({ proc: '/proc', clock: systemClock });

/** Collects logins from wherever. */
class Logins implements StreamSink {
  readonly seen: LoginSeen[] = [];
  readonly fromAudit = new AuditLogins({
    portsOf: (...login) => connections.portsOf(...login),
    reporterOf: (pid) => reporters.of(pid),
  });

  accept<K extends keyof Streams>(stream: K, records: readonly Streams[K][]): void {
    if (stream === 'logins') this.seen.push(...(records as readonly LoginSeen[]));
  }

  drop(): void {}

  readonly audit: AuditSink = {
    accept: (events) => void this.seen.push(...this.fromAudit.accept(events)),
    lost() {},
  };
}

const brief = ({ operation, success, userName }: LoginSeen) =>
  `${operation} ${success ? 'Success' : 'Fail'} ${userName}`;

describe('logins of a real sshd', function () {
  this.timeout(180_000);
  let server: SshServer;
  let logins: Logins;
  let user: string;

  before(async function () {
    require(this, await missingForAudit());
    require(this, missingForSshd());
    server = await SshServer.start();
    user = server.user;
  });
  after(() => server?.stop());
  beforeEach(() => {
    logins = new Logins();
  });

  /** What there is of the test's own users: others may log in, too. */
  const ours = () => logins.seen.filter(({ userName }) => userName === user || userName === 'no body');

  describe('in the audit', () => {
    const during = async (work: () => Promise<unknown>) => {
      const { fromAudit } = logins;
      const drained = () => {
        logins.seen.push(...fromAudit.expire(systemClock.monotonic()));
      };
      const source = new AuditSource({ rules: () => [], sink: logins.audit, clock: systemClock, log, drained });
      await source.open();
      try {
        await work();
        await server.quiet();
      } finally {
        await source.close();
      }
      logins.seen.push(...fromAudit.flush());
    };

    const session = (name: string) => [`Login Success ${name}`, `Logout Success ${name}`];
    const failed = (name: string) => `PAM:authentication Fail ${name}`;
    const cases: Record<string, [() => Promise<unknown>, () => string[]]> = {
      'a session with a terminal': [() => server.visit({ terminal: true, input: 'exit\n' }), () => session(user)],
      'ssh host command': [() => server.visit({ command: ['true'] }), () => session(user)],
      'a key': [() => server.visit({ key: 'right', command: ['true'] }), () => session(user)],
      'a key that does not fit before the password': [
        () => server.visit({ key: 'wrong', command: ['true'] }),
        () => session(user),
      ],
      'a password asked by PAM': [
        () => server.visit({ method: 'keyboard-interactive', command: ['true'] }),
        () => session(user),
      ],
      'a wrong password': [() => server.visit({ passwords: [WRONG] }), () => [failed(user)]],
      'a wrong password asked by PAM': [
        () => server.visit({ method: 'keyboard-interactive', passwords: [WRONG] }),
        () => [failed(user)],
      ],
      'a wrong password before the right one': [
        () => server.visit({ passwords: [WRONG, server.password], command: ['true'] }),
        () => [failed(user), ...session(user)],
      ],
      'a key that does not fit': [() => server.visit({ key: 'wrong', method: 'none' }), () => [`Login Fail ${user}`]],
      'an unknown user': [() => server.visit({ user: 'no body', passwords: [WRONG] }), () => [failed('no body')]],
    };
    for (const [what, [work, expected]] of Object.entries(cases)) {
      it(`are one event each: ${what}`, async () => {
        await during(work);
        assert.deepEqual(ours().map(brief), expected(), server.log);
        for (const { remote, pid, executable, time, reporter } of ours()) {
          assert.equal(remote?.address, '127.0.0.1');
          assert.equal(reporter?.pid, pid);
          assert.equal(reporter?.executable ?? executable, executable); // some have ended by then
          assert.match(executable, /\/sshd(-session)?$/);
          assert.ok(pid > 1);
          assert.ok(Math.abs(time.getTime() - Date.now()) < 30_000);
        }
      });
    }

    it('are told with who has written them, when that is another program than the record says', async () => {
      const name = `liar${process.pid}`;
      const words = `op=login pid=1 ses=1 acct="${name}" exe="/usr/sbin/sshd" addr=192.0.2.7 terminal=ssh res=success\0`;
      await during(async () => {
        const socket = openNetlink(NETLINK_AUDIT);
        socket.send(USER_RECORDS.USER_LOGIN, NLM_F_REQUEST, Buffer.from(words));
        socket.close();
      });
      const [login = {} as LoginSeen] = logins.seen.filter(({ userName }) => userName === name);
      const { pid, executable, success, reporter } = login;
      assert.deepEqual([pid, executable, success], [process.pid, '/usr/sbin/sshd', true]);
      assert.deepEqual(reporter, { pid: process.pid, executable: realpathSync(process.execPath) });
    });

    it('have terminal, session and user id', async () => {
      await during(() => server.visit({ terminal: true, input: 'exit\n' }));
      for (const { terminal, sessionId, userId } of ours()) {
        assert.match(terminal ?? '', /^\/dev\/pts\/\d+$/);
        assert.match(sessionId ?? '', /^\d+$/);
        assert.equal(userId, server.userId);
      }
    });

    it('have the ports of their connection, while that is there', async () => {
      await during(async () => {
        await server.visit({ command: ['sleep', '8'] }); // there as long as a busy machine may need to look
        await server.visit({ passwords: [WRONG] });
        await server.visit({ method: 'keyboard-interactive', passwords: [WRONG] });
      });
      const isLogged = (port = 0) => new RegExp(`127\\.0\\.0\\.1 port ${port}\\b`).test(server.log);
      const ports = ours().map(({ remote, localPort }) => [localPort, isLogged(remote?.port)]);
      assert.deepEqual(ports, Array(4).fill([server.port, true]));
    });

    it('are one each, also when many come at once', async () => {
      const visits = () => [
        server.visit({ command: ['true'] }),
        server.visit({ passwords: [WRONG] }),
        server.visit({ user: 'no body', method: 'keyboard-interactive', passwords: [WRONG] }),
      ];
      await during(() => Promise.all(Array.from({ length: 5 }, visits).flat()));
      const counts: Record<string, number> = {};
      for (const each of ours().map(brief)) counts[each] = (counts[each] ?? 0) + 1;
      assert.deepEqual(counts, {
        [`Login Success ${user}`]: 5,
        [`Logout Success ${user}`]: 5,
        [failed(user)]: 5,
        [failed('no body')]: 5,
      });
    });

    it('are seen end that began before the agent', async () => {
      let visit: Promise<unknown> = Promise.resolve();
      await new Promise((resolve) => {
        visit = server.visit({ terminal: true, command: ['echo in; sleep 3'], spoke: () => resolve('') });
        visit.then(resolve, resolve);
      });
      await during(() => visit);
      assert.deepEqual(ours().map(brief), [`Logout Success ${user}`]);
    });

    it('are one event each at a console', async function () {
      require(this, missing('/usr/bin/script', '/usr/bin/login'));
      await during(async () => {
        await atTerminal(['login'], ['login:', user], ['assword:', server.password], ['$', 'exit']);
        await atTerminal(['login'], ['login:', user], ['assword:', WRONG]);
      });
      assert.deepEqual(ours().map(brief), [...session(user), failed(user)]);
      assert.equal(ours()[0]?.remote, undefined);
    });

    it('are none by sudo and su', async function () {
      require(this, missing('/usr/bin/script', '/usr/bin/sudo', '/usr/bin/su'));
      await during(async () => {
        assert.equal(spawnSync('/usr/bin/sudo', ['-n', '-u', user, 'true']).status, 0);
        await atTerminal(['su', '-l', user, '-c', 'true']);
        await atTerminal(['su', '-c', `su -c true ${user}`, user], ['assword:', WRONG]);
      });
      const theirs = ({ executable }: LoginSeen) => /\/(?:sudo|su)$/.test(executable);
      assert.deepEqual([...ours(), ...logins.seen.filter(theirs)], []);
    });
  });

  describe('in the login files', () => {
    it('are one event each, in wtmp and the database of wtmpdb', async function () {
      require(this, missing('/var/log/wtmp'));
      const files = new LoginFiles({ sink: logins, clock: systemClock, log, hostRoot: '/' });
      files.open();
      try {
        await server.visit({ terminal: true, command: ['sleep', '2'] });
        await server.visit({ command: ['true'] });
        await server.visit({ passwords: [WRONG] });
        await until('a login and a logout', () => ours().length >= 2);
        await systemClock.sleep(seconds(2)); // nothing more may come
      } finally {
        await files.close();
      }
      // OpenSSH of Debian 13 enters what has a terminal, and no refusals.
      assert.deepEqual(ours().map(brief), [`Login Success ${user}`, `Logout Success ${user}`]);
      for (const { remote, terminal, executable, pid } of ours()) {
        assert.equal(remote?.address, '127.0.0.1');
        assert.match(terminal ?? '', /^\/dev\/pts\/\d+$/);
        assert.ok(pid === 0 || /sshd/.test(executable), executable);
      }
    });
  });
});

/** Which of these isn't there. */
function missing(...paths: string[]): string | undefined {
  const absent = paths.find((path) => {
    try {
      accessSync(path);
      return false;
    } catch {
      return true;
    }
  });
  return absent === undefined ? undefined : `there is no ${absent}`;
}
