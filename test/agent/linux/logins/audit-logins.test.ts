import assert from 'node:assert/strict';
import fc from 'fast-check';
import * as v from 'valibot';
import { login as collector } from '../../../../src/agent/collectors/login.ts';
import { AuditLogins } from '../../../../src/agent/linux/logins/audit-logins.ts';
import { milliseconds, minutes, seconds } from '../../../../src/core/base/duration.ts';
import type { LoginReporter, LoginSeen } from '../../../../src/core/contract/streams.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { look } from '../../collectors/samples.ts';
import { eventsOf, golden } from './golden.ts';

/** All logins in the records, including held ones. */
function replay(lines: readonly string[]): LoginSeen[] {
  const logins = new AuditLogins();
  return [...logins.accept(eventsOf(lines)), ...logins.flush()];
}

/** One line of what matters. */
const brief = ({ operation, success, userName, userId, terminal }: LoginSeen) =>
  [operation, success ? 'Success' : 'Fail', userName ?? '-', userId ?? '-', terminal ?? '-'].join(' ');

/** A user record as the kernel writes it. Fields that are undefined are left out. */
let serial = 0;
function record(type: number, fields: Record<string, string | number | undefined> = {}): string {
  serial += 1;
  const { pid = 100, ses = 4_294_967_295, auid = ses === 4_294_967_295 ? ses : 1_000, ...own } = fields;
  const userFields = {
    exe: '"/usr/sbin/sshd"',
    hostname: '?',
    addr: '192.0.2.7',
    terminal: 'ssh',
    res: 'success',
    ...own,
  };
  const text = Object.entries(userFields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`);
  return `${type} audit(1700000000.${String(serial % 1_000).padStart(3, '0')}:${serial}): pid=${pid} uid=0 auid=${auid} ses=${ses} msg='${text.join(' ')}'`;
}

const PAM = { op: 'PAM:authentication', acct: '"alice"' };
const failed = (fields: Record<string, string | number | undefined> = {}) =>
  record(1100, { ...PAM, res: 'failed', ...fields });
const start = (fields: Record<string, string | number | undefined> = {}) =>
  record(1105, { op: 'PAM:session_open', grantors: 'pam_loginuid,pam_unix', acct: '"alice"', ses: 7, ...fields });
const end = (fields: Record<string, string | number | undefined> = {}) =>
  record(1106, { op: 'PAM:session_close', grantors: 'pam_loginuid,pam_unix', acct: '"alice"', ses: 7, ...fields });
const login = (fields: Record<string, string | number | undefined> = {}) =>
  record(1112, { op: 'login', id: 1_000, ses: 7, terminal: '/dev/pts/0', ...fields });
const refused = (fields: Record<string, string | number | undefined> = {}) =>
  record(1112, { op: 'login', acct: '"alice"', terminal: 'sshd', res: 'failed', ...fields });
const gaveUp = (fields: Record<string, string | number | undefined> = {}) =>
  record(1109, { op: 'PAM:bad_ident', acct: '"?"', res: 'failed', ...fields });

const INVALID_USER = '28696E76616C6964207573657229';

describe('the writer of an audit record', () => {
  const SSHD = { pid: 0, executable: '/usr/sbin/sshd' };
  const LIAR = { pid: 0, executable: '/usr/sbin/sshd', containerId: 'web' };
  const reported = (lines: readonly string[], reporters: Record<number, LoginReporter>) => {
    const logins = new AuditLogins({ reporterOf: (pid) => ({ ...reporters[pid], pid }) });
    return [...logins.accept(eventsOf(lines)), ...logins.flush()];
  };

  it("is identified by the process that the kernel names, not by the record's own text", () => {
    const [seen] = reported([login({ op: 'login pid=1' })], { 1: SSHD, 100: LIAR });
    assert.equal(seen?.pid, 100);
    assert.deepEqual(seen?.reporter, { ...LIAR, pid: 100 });
  });

  it('is reported at the end of a session as well', () => {
    const seen = reported([start(), end()], { 100: SSHD });
    assert.deepEqual(
      seen.map(({ operation, reporter }) => [operation, reporter?.executable]),
      [
        ['Login', SSHD.executable],
        ['Logout', SSHD.executable],
      ],
    );
  });

  it('decides whether two refusals belong together: a refusal in a container explains none on the host', () => {
    const lines = [refused({ pid: 100 }), failed({ pid: 200 })];
    assert.equal(reported(lines, { 100: SSHD, 200: SSHD }).length, 1);
    assert.equal(reported(lines, { 100: SSHD, 200: LIAR }).length, 2);
    const program = { ...SSHD, executable: '/tmp/liar' };
    assert.equal(reported([failed({ pid: 200 }), refused({ pid: 100 })], { 100: SSHD, 200: program }).length, 2);
    assert.equal(reported(lines, { 100: SSHD }).length, 1); // it had ended before it could be looked at
  });

  describe('if it exited before its program was looked up:', () => {
    const GONE = { pid: 0, isUnlocated: true } as const;
    const orders: [string, string[]][] = [
      ['the program first', [refused({ pid: 100 }), failed({ pid: 200 })]],
      ['PAM first', [failed({ pid: 200 }), refused({ pid: 100 })]],
    ];
    for (const [what, lines] of orders) {
      it(`explains no refusal on the host if it was in a container (${what})`, () => {
        assert.equal(reported(lines, { 100: SSHD, 200: { pid: 0, containerId: 'web' } }).length, 2);
        assert.equal(reported(lines, { 100: { pid: 0 }, 200: { pid: 0, containerId: 'web' } }).length, 2);
      });

      it(`explains no refusal on the host if it may have been in a container (${what})`, () => {
        assert.equal(reported(lines, { 100: SSHD, 200: GONE }).length, 2);
        assert.equal(reported(lines, { 100: SSHD, 200: { ...GONE, executable: SSHD.executable } }).length, 2);
      });

      it(`is explained by a refusal on the host, and by another exited process's (${what})`, () => {
        assert.equal(reported(lines, { 100: GONE, 200: SSHD }).length, 1);
        assert.equal(reported(lines, { 100: GONE, 200: GONE }).length, 1);
      });
    }
  });
});

describe('AuditLogins', () => {
  describe('on records of OpenSSH and login(1) on Debian 13', () => {
    const fail = (name: string, terminal = 'ssh') => `PAM:authentication Fail ${name} - ${terminal}`;
    const session = (terminal: string) => [
      `Login Success alice 1000 ${terminal}`,
      `Logout Success alice 1000 ${terminal}`,
    ];
    const expected: Record<string, readonly string[]> = {
      'ssh-terminal': session('/dev/pts/1'),
      'ssh-command': session('ssh'),
      'ssh-sftp': session('ssh'),
      'ssh-key': session('ssh'),
      'ssh-key-terminal': session('/dev/pts/1'),
      'ssh-keyboard-interactive': session('ssh'),
      'ssh-two-terminals': session('/dev/pts/1'),
      'ssh-wrong-password': [fail('alice')],
      'ssh-three-wrong-passwords': [fail('alice'), fail('alice'), fail('alice')],
      'ssh-wrong-then-right-password': [fail('alice'), ...session('ssh')],
      'ssh-keyboard-interactive-wrong': [fail('alice'), fail('alice'), fail('alice')],
      'ssh-unknown-user': [fail('no body')],
      'ssh-unknown-user-keyboard-interactive': [fail('ghost'), fail('ghost')],
      'ssh-unknown-user-key': ['Login Fail (invalid user) - sshd'],
      'ssh-wrong-key': ['Login Fail alice - sshd'],
      'ssh-wrong-key-right-password': session('ssh'),
      'ssh-wrong-key-wrong-password': [fail('alice')],
      'ssh-expired-account': ['PAM:accounting Fail alice - ssh', 'PAM:accounting Fail alice - ssh'],
      console: session('/dev/pts/1'),
      'console-wrong-password': [fail('alice', '/dev/pts/1')],
      'console-unknown-user': [fail('ghost', '/dev/pts/1')],
      su: [],
      'su-login': [],
      sudo: [],
    };
    for (const [name, logins] of Object.entries(expected)) {
      it(`reports ${name}: ${logins.length === 0 ? 'none' : logins.join(', ')}`, () => {
        assert.deepEqual(replay(golden[name] ?? []).map(brief), logins);
      });
    }

    it('has an expected result for every recording', () =>
      assert.deepEqual(Object.keys(golden).sort(), Object.keys(expected).sort()));

    it('reports every known field', () => {
      const [entered, left] = replay(golden['ssh-terminal'] ?? []);
      assert.match(entered?.time.toISOString() ?? '', /^20\d\d-/);
      const { time, serial: _serial, pid, sessionId, reporter: _reporter, ...rest } = entered ?? ({} as LoginSeen);
      assert.deepEqual(rest, {
        operation: 'Login',
        success: true,
        executable: '/usr/lib/openssh/sshd-session',
        userId: 1000,
        userName: 'alice',
        remote: { address: '127.0.0.1' },
        terminal: '/dev/pts/1',
      });
      assert.deepEqual({ ...left, time, serial: entered?.serial }, { ...entered, operation: 'Logout' });
      assert.ok(pid > 1 && Number(sessionId) > 0 && left !== undefined && left.time >= time);
    });

    it("reports no origin for a console login: the name that login(1) writes is its own machine's", () => {
      const [entered] = replay(golden.console ?? []);
      assert.equal(entered?.remote, undefined);
      assert.equal(entered?.remoteHost, undefined);
    });
  });

  describe('reports each login once, for records in any order:', () => {
    for (const [what, lines, logins] of [
      [
        'records of two sessions between each other',
        [start(), start({ pid: 101, ses: 8, acct: '"bob"' }), login(), end(), end({ pid: 101, ses: 8, acct: '"bob"' })],
        [
          'Login Success alice 1000 /dev/pts/0',
          'Logout Success alice 1000 /dev/pts/0',
          'Login Success bob 1000 ssh',
          'Logout Success bob 1000 ssh',
        ],
      ],
      ['the terminal before the session', [login(), start()], ['Login Success alice 1000 /dev/pts/0']],
      ['only the terminal', [login()], ['Login Success - 1000 /dev/pts/0']],
      [
        'a further terminal of a session',
        [start(), login(), login({ terminal: '/dev/pts/1' })],
        ['Login Success alice 1000 /dev/pts/0'],
      ],
      [
        'records twice',
        [start(), start(), login(), login(), end(), end()],
        ['Login Success alice 1000 /dev/pts/0', 'Logout Success alice 1000 /dev/pts/0'],
      ],
      ['a session from before the agent started', [end()], ['Logout Success alice 1000 ssh']],
      [
        'the next session of a process whose last end was lost',
        [start(), start({ ses: 8 })],
        ['Login Success alice 1000 ssh', 'Login Success alice 1000 ssh'],
      ],
      [
        'without audit sessions',
        [
          start({ ses: undefined, auid: undefined, grantors: 'pam_unix' }),
          end({ ses: undefined, auid: undefined, grantors: 'pam_unix' }),
        ],
        ['Login Success alice - ssh', 'Logout Success alice - ssh'],
      ],
      [
        'again and again in one process, without audit sessions',
        [1, 2].flatMap(() => [start({ ses: undefined }), end({ ses: undefined })]),
        [
          'Login Success alice - ssh',
          'Logout Success alice - ssh',
          'Login Success alice - ssh',
          'Logout Success alice - ssh',
        ],
      ],
      [
        'two accounts in one process, without audit sessions',
        [
          start({ ses: undefined }),
          start({ ses: undefined, acct: '"bob"' }),
          end({ ses: undefined }),
          end({ ses: undefined, acct: '"bob"' }),
        ],
        [
          'Login Success alice - ssh',
          'Login Success bob - ssh',
          'Logout Success alice - ssh',
          'Logout Success bob - ssh',
        ],
      ],
      [
        'a session that PAM could not open',
        [record(1105, { op: 'PAM:session_open', acct: '"alice"', res: 'failed' })],
        ['PAM:session_open Fail alice - ssh'],
      ],
      [
        'a password that has expired, and was changed',
        [record(1101, { op: 'PAM:accounting', acct: '"alice"', res: 'failed' }), start()],
        ['Login Success alice 1000 ssh'],
      ],
      [
        'keys that do not fit before one that does',
        [refused(), refused(), refused(), start(), end()],
        ['Login Success alice 1000 ssh', 'Logout Success alice 1000 ssh'],
      ],
      ['keys that do not fit, and nothing else', [refused(), refused(), gaveUp()], ['Login Fail alice - sshd']],
      ['keys that do not fit, without PAM', [refused(), refused()], ['Login Fail alice - sshd']],
      [
        'a name that comes later',
        [refused({ acct: INVALID_USER }), refused({ acct: '"bob"' })],
        ['Login Fail bob - sshd'],
      ],
      [
        'a name that only the program knows',
        [refused({ acct: '"bob"' }), failed({ acct: '"?"' })],
        ['PAM:authentication Fail bob - ssh'],
      ],
      [
        'a password after the keys of another connection',
        [refused({ pid: 90 }), failed({ pid: 200, addr: '192.0.2.8' })],
        ['PAM:authentication Fail alice - ssh', 'Login Fail alice - sshd'],
      ],
      ['what nobody says anything more of', [gaveUp()], []],
      ['other records', [record(1104, { op: 'PAM:setcred', acct: '"alice"' }), record(1100, PAM)], []],
    ] satisfies [string, string[], string[]][]) {
      it(what, () => assert.deepEqual(replay(lines).map(brief).sort(), [...logins].sort()));
    }

    it("reads RHEL's records: sshd itself reports what PAM reported, and its channels", () => {
      const channel = { op: 'login', id: 1_000, acct: undefined, grantors: undefined, ses: 7 };
      const lines = [
        failed(),
        failed({ op: 'password', hostname: '?' }),
        start(),
        login({ terminal: 'ssh' }),
        record(1105, channel),
        record(1106, channel),
        record(1113, channel),
        end(),
      ];
      assert.deepEqual(replay(lines).map(brief), [
        'PAM:authentication Fail alice - ssh',
        'Login Success alice 1000 ssh',
        'Logout Success alice 1000 ssh',
      ]);
    });

    it('works without PAM: USER_LOGIN starts a session, USER_LOGOUT ends it', () => {
      const lines = [login(), record(1113, { op: 'login', id: 1_000, ses: 7 })];
      assert.deepEqual(replay(lines).map(brief), [
        'Login Success - 1000 /dev/pts/0',
        'Logout Success - 1000 /dev/pts/0',
      ]);
    });

    it('reports many simultaneous attempts from one address through PAM', () => {
      const pids = Array.from({ length: 50 }, (_, index) => 1_000 + 10 * index);
      const lines = [
        ...pids.flatMap((pid) => [refused({ pid, acct: INVALID_USER }), refused({ pid, acct: INVALID_USER })]),
        ...pids.map((pid) => failed({ pid: pid + 5_000, acct: `"user${pid}"` })),
        ...pids.flatMap((pid) => [refused({ pid, acct: INVALID_USER }), gaveUp({ pid })]),
      ];
      const reported = replay(lines);
      assert.equal(reported.length, 50);
      assert.equal(new Set(reported.map(({ userName }) => userName)).size, 50);
    });
  });

  describe('on records without a login', () => {
    for (const exe of [
      '/usr/bin/su',
      '/usr/bin/sudo',
      '/usr/sbin/cron',
      '/usr/lib/systemd/systemd-executor',
      '/usr/sbin/unix_chkpwd',
      '/usr/bin/passwd',
      '/usr/lib/polkit-1/polkit-agent-helper-1',
      '/usr/sbin/runuser',
    ]) {
      it(`ignores ${exe}`, () => {
        const by = { exe: `"${exe}"` };
        const lines = [failed(by), start(by), login(by), end(by), record(1101, { ...PAM, ...by, res: 'failed' })];
        assert.deepEqual(replay(lines), []);
      });
    }

    it('ignores the login window of a display manager', () => {
      const greeter = { exe: '"/usr/libexec/gdm-session-worker"', acct: '"Debian-gdm"' };
      assert.deepEqual(replay([start(greeter), end(greeter)]), []);
      assert.equal(replay([start({ ...greeter, acct: '"alice"' })]).length, 1);
      assert.equal(
        replay([start({ acct: '"Debian-gdm"' })]).length,
        1,
        'by other ways in, that account is one like others',
      );
    });
  });

  describe('for the origin of a login', () => {
    const from = (addr: string, hostname = '?') => {
      const [{ remote, zone, remoteHost } = {} as LoginSeen] = replay([failed({ addr, hostname })]);
      return { remote, zone, remoteHost };
    };
    const nowhere = { remote: undefined, zone: undefined, remoteHost: undefined };
    for (const [addr, hostname, expected] of [
      ['192.0.2.7', '192.0.2.7', { remote: { address: '192.0.2.7' } }],
      ['::ffff:192.0.2.7', '?', { remote: { address: '192.0.2.7' } }],
      ['2001:DB8:0:0:1:0:0:1', '?', { remote: { address: '2001:db8::1:0:0:1' } }],
      ['fe80::1%eth0', 'fe80::1%eth0', { remote: { address: 'fe80::1' }, zone: 'eth0' }],
      ['192.0.2.7', 'host.example', { remote: { address: '192.0.2.7' }, remoteHost: 'host.example' }],
      ['?', 'device', {}],
      ['?', '?', {}],
      ['UNKNOWN', '?', {}],
      ['1.2.3', '?', {}],
    ] as const) {
      it(`parses ${addr} (${hostname})`, () => assert.deepEqual(from(addr, hostname), { ...nowhere, ...expected }));
    }
  });

  it('looks up the ports once per login, and repeats them at the logout', () => {
    const asked: string[] = [];
    const logins = new AuditLogins({
      portsOf: (pid, address, time) => {
        asked.push(`${pid} ${address}`);
        return time.getTime() > 0 ? { remote: 50_000 + pid, local: 22 } : undefined;
      },
    });
    const reported = logins.accept(eventsOf([start(), login(), end(), failed({ pid: 101 }), refused({ pid: 101 })]));
    assert.deepEqual(
      reported.map(({ operation, remote, localPort }) => [operation, remote?.port, localPort]),
      [
        ['Login', 50_100, 22],
        ['Logout', 50_100, 22],
        ['PAM:authentication', 50_101, 22],
      ],
    );
    assert.deepEqual(asked, ['100 192.0.2.7', '101 192.0.2.7']);
    assert.deepEqual(logins.accept(eventsOf([failed({ addr: '?' })]))[0]?.localPort, undefined);
    assert.equal(asked.length, 2);
  });

  describe('for the user of a login', () => {
    it('returns the login uid only if the session has set it', () => {
      assert.equal(replay([start({ grantors: 'pam_unix' })])[0]?.userId, undefined);
      assert.equal(replay([failed({ auid: 1_001, ses: 9 })])[0]?.userId, undefined, 'of who started sshd');
    });

    it('accepts names in any script', () => {
      const acct = Buffer.from('ålice 😀').toString('hex').toUpperCase();
      assert.equal(replay([failed({ acct })])[0]?.userName, 'ålice 😀');
    });

    it('does not parse a name that looks like the rest of a record', () => {
      const name = `x" addr=203.0.113.9 id=0 res=success'`;
      const acct = Buffer.from(name).toString('hex').toUpperCase(); // as libaudit writes it
      const [seen] = replay([failed({ acct })]);
      assert.deepEqual(
        [seen?.userName, seen?.userId, seen?.remote?.address, seen?.success],
        [name, undefined, '192.0.2.7', false],
      );
    });

    for (const [what, fields] of Object.entries({
      'nobody at all': { acct: undefined, id: undefined },
      'no process': { pid: 'x' },
      'no program': { exe: undefined },
    })) {
      it(`counts a record that names ${what}`, () => {
        const logins = new AuditLogins();
        assert.deepEqual(logins.accept(eventsOf([failed(fields)])), []);
        assert.equal(logins.counts.unusable, 1);
      });
    }
  });

  describe('while it waits for more records', () => {
    it('waits two seconds for the terminal of a session', () => {
      const logins = new AuditLogins();
      assert.deepEqual(logins.accept(eventsOf([start()])), []);
      assert.deepEqual(logins.expire(seconds(100)), []);
      assert.deepEqual(logins.expire(milliseconds(101_999)), []);
      assert.deepEqual(logins.expire(seconds(102)).map(brief), ['Login Success alice 1000 ssh']);
      assert.deepEqual(logins.accept(eventsOf([login()])), [], 'that is none more');
    });

    it('does not wait if the terminal is already known', () => {
      const logins = new AuditLogins();
      assert.equal(logins.accept(eventsOf([start(), login()])).length, 1);
      assert.equal(logins.accept(eventsOf([failed()])).length, 1);
    });

    it('waits as long as sshd allows another attempt after a refused key', () => {
      const logins = new AuditLogins();
      assert.deepEqual(logins.accept(eventsOf([refused()])), []);
      assert.deepEqual(logins.expire(seconds(1)), []);
      assert.deepEqual(logins.expire(seconds(120)), []);
      assert.deepEqual(logins.expire(minutes(3)).map(brief), ['Login Fail alice - sshd']);
    });

    it('does not wait if the pid now belongs to another process', () => {
      const logins = new AuditLogins();
      assert.equal(logins.accept(eventsOf([failed()])).length, 1);
      logins.expire(seconds(1));
      logins.expire(seconds(40));
      assert.deepEqual(logins.accept(eventsOf([refused()])), []);
      assert.equal(logins.flush().length, 1, 'and not taken for what PAM had refused');
    });
  });

  describe('under attack', () => {
    it('holds a bounded number of logins, and reports the rest immediately', () => {
      const logins = new AuditLogins();
      const lines = Array.from({ length: 20_000 }, (_, index) => [
        refused({ pid: index + 1, acct: `"${index}"` }),
        start({ pid: 100_000 + index, ses: index }),
      ]);
      const reported = logins.accept(eventsOf(lines.flat())).length;
      assert.equal(reported, 2 * (20_000 - 256));
      assert.equal(logins.flush().length, 2 * 256);
    });

    it('compares each record with a bounded number of others', () => {
      const lines = Array.from({ length: 4_000 }, (_, pid) => [
        refused({ pid: pid + 1, acct: INVALID_USER }),
        failed({ pid: pid + 9_000, acct: '"x"', addr: `192.0.2.${pid % 255}` }),
      ]).flat();
      let looks = 0;
      const reporterOf = (pid: number) => ({
        pid,
        get executable() {
          looks += 1;
          return undefined as never;
        },
      });
      const logins = new AuditLogins({ reporterOf });
      for (const event of eventsOf(lines)) logins.accept([event]);
      assert.ok(looks > lines.length && looks <= 256 * lines.length, `${looks} looks for ${lines.length} records`);
    });
  });

  it('never throws, and reports valid events for any records', () => {
    const word = fc.constantFrom(
      'alice',
      '?',
      '(null)',
      '',
      'x y',
      '__proto__',
      '4294967295',
      '-1',
      '192.0.2.7',
      'fe80::1%e',
      '\xff',
    );
    const name = fc.constantFrom(
      'pid',
      'ses',
      'auid',
      'op',
      'acct',
      'exe',
      'hostname',
      'addr',
      'terminal',
      'res',
      'id',
      'grantors',
      '__proto__',
    );
    const change = fc.oneof(
      fc.record({ name, value: fc.oneof(word, fc.string({ maxLength: 12 })) }).map(
        ({ name, value }) =>
          (line: string) =>
            line.replace(new RegExp(`\\b${name}=[^ ']*`), () => `${name}=${value}`),
      ),
      fc.record({ at: fc.nat(400), text: fc.string({ maxLength: 6 }) }).map(
        ({ at, text }) =>
          (line: string) =>
            line.slice(0, 45 + at) + text + line.slice(45 + at),
      ),
      fc.nat(400).map((length) => (line: string) => line.slice(0, 45 + length)),
      fc
        .constantFrom(1100, 1101, 1105, 1106, 1109, 1112, 1113)
        .map((type) => (line: string) => `${type}${line.slice(4)}`),
    );
    const lines = Object.values(golden).flat();
    const step = fc
      .tuple(fc.constantFrom(...lines), fc.array(change, { maxLength: 3 }))
      .map(([line, changes]) => changes.reduce((text, each) => each(text), line));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const logins = new AuditLogins();
        const events = eventsOf(steps.map((line, index) => line.replace(/:\d+\): /, `:${index}): `)));
        const reported = events.flatMap((event, index) => [
          ...logins.accept([event]),
          ...logins.expire(seconds(index)),
        ]);
        reported.push(...logins.flush());
        assert.ok(reported.length <= 2 * steps.length);
        for (const each of reported) v.parse(collector.payload, collector.translate(each, look));
      }),
      { numRuns: fuzzRuns(40_000) },
    );
  });
});
