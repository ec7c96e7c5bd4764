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
/** A clock at which no time passes: a loaded machine would use up the time budget for the first logins. */
const timeless: Clock = { ...systemClock, monotonic: () => milliseconds(0) };
const connections = new LoginConnections({ clock: timeless, proc: '/proc' });

const reporters = new LoginReporters({ proc: '/proc', clock: systemClock });

/** Collects logins from any source. */
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

describe('Logins at a real sshd', function () {
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

  /** The logins of the test's own users: other users may log in during the test. */
  const testLogins = () => logins.seen.filter(({ userName }) => userName === user || userName === 'no body');

  describe('AuditLogins', () => {
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
      'a session of ssh host command': [() => server.visit({ command: ['true'] }), () => session(user)],
      'a session by key': [() => server.visit({ key: 'right', command: ['true'] }), () => session(user)],
      'a session by password after a wrong key': [
        () => server.visit({ key: 'wrong', command: ['true'] }),
        () => session(user),
      ],
      'a session by a password that PAM requests': [
        () => server.visit({ method: 'keyboard-interactive', command: ['true'] }),
        () => session(user),
      ],
      'a wrong password': [() => server.visit({ passwords: [WRONG] }), () => [failed(user)]],
      'a wrong password that PAM requests': [
        () => server.visit({ method: 'keyboard-interactive', passwords: [WRONG] }),
        () => [failed(user)],
      ],
      'a wrong password before the right one': [
        () => server.visit({ passwords: [WRONG, server.password], command: ['true'] }),
        () => [failed(user), ...session(user)],
      ],
      'a wrong key': [() => server.visit({ key: 'wrong', method: 'none' }), () => [`Login Fail ${user}`]],
      'an unknown user': [() => server.visit({ user: 'no body', passwords: [WRONG] }), () => [failed('no body')]],
    };
    for (const [name, [work, expected]] of Object.entries(cases)) {
      it(`reports each login and logout once: ${name}`, async () => {
        await during(work);
        assert.deepEqual(testLogins().map(brief), expected(), server.log);
        for (const { remote, pid, executable, time, reporter } of testLogins()) {
          assert.equal(remote?.address, '127.0.0.1');
          assert.equal(reporter?.pid, pid);
          assert.equal(reporter?.executable ?? executable, executable); // unknown if it has exited by then
          assert.match(executable, /\/sshd(-session)?$/);
          assert.ok(pid > 1);
          assert.ok(Math.abs(time.getTime() - Date.now()) < 30_000);
        }
      });
    }

    it('names the process that wrote a record, if the record names another program', async () => {
      const name = `forged${process.pid}`;
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

    it('reports terminal, session and user id', async () => {
      await during(() => server.visit({ terminal: true, input: 'exit\n' }));
      for (const { terminal, sessionId, userId } of testLogins()) {
        assert.match(terminal ?? '', /^\/dev\/pts\/\d+$/);
        assert.match(sessionId ?? '', /^\d+$/);
        assert.equal(userId, server.userId);
      }
    });

    it('reports the ports of the connection while it is open', async () => {
      await during(async () => {
        await server.visit({ command: ['sleep', '8'] }); // long enough for a lookup on a loaded machine
        await server.visit({ passwords: [WRONG] });
        await server.visit({ method: 'keyboard-interactive', passwords: [WRONG] });
      });
      const isLogged = (port = 0) => new RegExp(`127\\.0\\.0\\.1 port ${port}\\b`).test(server.log);
      const ports = testLogins().map(({ remote, localPort }) => [localPort, isLogged(remote?.port)]);
      assert.deepEqual(ports, Array(4).fill([server.port, true]));
    });

    it('reports each of many simultaneous logins once', async () => {
      const visits = () => [
        server.visit({ command: ['true'] }),
        server.visit({ passwords: [WRONG] }),
        server.visit({ user: 'no body', method: 'keyboard-interactive', passwords: [WRONG] }),
      ];
      await during(() => Promise.all(Array.from({ length: 5 }, visits).flat()));
      const counts: Record<string, number> = {};
      for (const login of testLogins().map(brief)) counts[login] = (counts[login] ?? 0) + 1;
      assert.deepEqual(counts, {
        [`Login Success ${user}`]: 5,
        [`Logout Success ${user}`]: 5,
        [failed(user)]: 5,
        [failed('no body')]: 5,
      });
    });

    it('reports the logout of a session that is older than the agent', async () => {
      let visit: Promise<unknown> = Promise.resolve();
      await new Promise((resolve) => {
        visit = server.visit({ terminal: true, command: ['echo in; sleep 3'], onOutput: () => resolve('') });
        visit.then(resolve, resolve);
      });
      await during(() => visit);
      assert.deepEqual(testLogins().map(brief), [`Logout Success ${user}`]);
    });

    it('reports each console login once', async function () {
      require(this, missing('/usr/bin/script', '/usr/bin/login'));
      await during(async () => {
        await atTerminal(['login'], ['login:', user], ['assword:', server.password], ['$', 'exit']);
        await atTerminal(['login'], ['login:', user], ['assword:', WRONG]);
      });
      assert.deepEqual(testLogins().map(brief), [...session(user), failed(user)]);
      assert.equal(testLogins()[0]?.remote, undefined);
    });

    it('reports no login for sudo and su', async function () {
      require(this, missing('/usr/bin/script', '/usr/bin/sudo', '/usr/bin/su'));
      await during(async () => {
        assert.equal(spawnSync('/usr/bin/sudo', ['-n', '-u', user, 'true']).status, 0);
        await atTerminal(['su', '-l', user, '-c', 'true']);
        await atTerminal(['su', '-c', `su -c true ${user}`, user], ['assword:', WRONG]);
      });
      const isSudo = ({ executable }: LoginSeen) => /\/(?:sudo|su)$/.test(executable);
      assert.deepEqual([...testLogins(), ...logins.seen.filter(isSudo)], []);
    });
  });

  describe('LoginFiles', () => {
    it('reports each login once from wtmp and the database of wtmpdb', async function () {
      require(this, missing('/var/log/wtmp'));
      const files = new LoginFiles({ sink: logins, clock: systemClock, log, hostRoot: '/' });
      files.open();
      try {
        await server.visit({ terminal: true, command: ['sleep', '2'] });
        await server.visit({ command: ['true'] });
        await server.visit({ passwords: [WRONG] });
        await until('a login and a logout', () => testLogins().length >= 2);
        await systemClock.sleep(seconds(2)); // no further login may be reported
      } finally {
        await files.close();
      }
      // OpenSSH of Debian 13 writes sessions with a terminal only, and no refused logins.
      assert.deepEqual(testLogins().map(brief), [`Login Success ${user}`, `Logout Success ${user}`]);
      for (const { remote, terminal, executable, pid } of testLogins()) {
        assert.equal(remote?.address, '127.0.0.1');
        assert.match(terminal ?? '', /^\/dev\/pts\/\d+$/);
        assert.ok(pid === 0 || /sshd/.test(executable), executable);
      }
    });
  });
});

/** Returns a message about the first of these paths that does not exist. */
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
