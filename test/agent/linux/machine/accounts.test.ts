import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import sinon from 'sinon';
import { findTool } from '../../../../src/agent/host/run-tool.ts';
import { Accounts, UserNames } from '../../../../src/agent/linux/machine/accounts.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { skip } from '../../../harness/require.ts';

const { signal } = new AbortController();
const PASSWD = `root:x:0:0:root:/root:/bin/bash
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
toor:x:0:0::/root:/bin/sh
short:x:5:60
`;
const HASH = '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7';

let hostRoot: string;

beforeEach(() => {
  hostRoot = temporaryFolder();
  mkdirSync(join(hostRoot, 'etc'));
  put('etc/passwd', PASSWD);
});

const put = (path: string, text: string) => writeFileSync(join(hostRoot, path), text);

describe('Accounts', () => {
  it('changes its trace when one of its files is written, replaced, added or removed', async () => {
    const accounts = new Accounts({ hostRoot });
    const seen = [await accounts.trace()];
    const isNew = async () => {
      const trace = await accounts.trace();
      assert.equal(await accounts.trace(), trace);
      assert.ok(trace !== undefined && !seen.includes(trace));
      seen.push(trace);
    };
    put('etc/shadow', '');
    await isNew();
    put('etc/shadow', 'root:*:1::::::\n');
    await isNew();
    put('etc/passwd', `${PASSWD}eve:x:0:0::/:/bin/sh\n`);
    await isNew();
    put('etc/group+', 'root:x:0:\n');
    renameSync(join(hostRoot, 'etc/group+'), join(hostRoot, 'etc/group'));
    await isNew();
    put('etc/nsswitch.conf', 'passwd: files extrausers\n');
    await isNew();
    rmSync(join(hostRoot, 'etc/shadow'));
    await isNew();
  });

  describe('from the files of a host', () => {
    const list = () => new Accounts({ hostRoot }).list(signal);

    it('reads the files under hostRoot; the group file may be missing', async () => {
      const accounts = new Accounts({ hostRoot });
      assert.deepEqual(accounts.status(), { state: 'off' });
      const [, alice] = await accounts.list(signal);
      assert.deepEqual(alice, {
        name: 'alice',
        userId: 1000,
        primaryGroupId: 1000,
        shell: '/bin/bash',
        groups: [{ id: 1000, name: '1000' }],
      });
      assert.deepEqual(accounts.status(), { state: 'on', source: 'files' });
    });

    it("reads the files as the host's C library does", async () => {
      put('etc/passwd', '#a:x:4294967296:0:::\n');
      put('etc/group', '+sudo:x:27:#a\n');
      put('etc/shadow', '#a::1::::::\n');
      assert.deepEqual(await list(), []);
      mkdirSync(join(hostRoot, 'bin'));
      put('bin/sh', '\x7fELF … /lib/ld-musl-x86_64.so.1\0');
      const groups = [
        { id: 0, name: '0' },
        { id: 27, name: '+sudo' },
      ];
      assert.deepEqual(await list(), [{ name: '#a', userId: 0, primaryGroupId: 0, password: 'empty', groups }]);
      assert.equal(new UserNames({ hostRoot, clock: systemClock }).userName(0), '#a');
    });

    it('follows links within the host', async () => {
      mkdirSync(join(hostRoot, 'persist'));
      renameSync(join(hostRoot, 'etc/passwd'), join(hostRoot, 'persist/passwd'));
      symlinkSync('/persist/passwd', join(hostRoot, 'etc/passwd'));
      assert.equal((await list()).length, 4);
      assert.equal(new UserNames({ hostRoot, clock: systemClock }).userName(1000), 'alice');
    });

    it('reports the kind of each password, and nothing else about it', async () => {
      put('etc/shadow', `root:${HASH}:19000:0:99999:7:::\nalice:!${HASH}:1::::::\ntoor::1::::::\n`);
      const accounts = await list();
      assert.deepEqual(
        accounts.map(({ name, password }) => `${name} ${password}`),
        ['root set', 'alice locked', 'toor empty', 'short undefined'],
      );
      assert.ok(!inspect(accounts).includes('$y$'));
    });

    it('rejects with a remedy if passwd is missing, and never shows a hash', async () => {
      put('etc/shadow', `root:${HASH}:19000:0:99999:7:::\n`);
      rmSync(join(hostRoot, 'etc/passwd'));
      const accounts = new Accounts({ hostRoot });
      await assert.rejects(accounts.list(signal), (error) => {
        assert.match((error as { remedy: string }).remedy, /hostRoot/);
        assert.ok(!inspect(error, { depth: 9 }).includes('$y$'));
        return true;
      });
      assert.equal(accounts.status().state, 'unavailable');
    });

    it('rejects a file of implausible length', async () => {
      put('etc/group', 'x'.repeat(5 * 1024 * 1024));
      await assert.rejects(list(), { message: /longer than/ });
    });

    it('returns at most a multiple of what a message can hold', async () => {
      put('etc/passwd', Array.from({ length: 6_000 }, (_, n) => `u${n}:x:${n}:1:::\n`).join(''));
      const accounts = new Accounts({ hostRoot });
      assert.equal((await accounts.list(signal)).length, 5_000);
      assert.deepEqual(accounts.status(), {
        state: 'degraded',
        source: 'files',
        reason: 'only 5000 of 6000 accounts',
        leftOut: 1_000,
      });
    });
  });

  describe('from the name service of this machine', () => {
    /** A replacement for getent(1), used for `passwd` and `group`. */
    const instead = (script: string) => {
      put('getent', `#!/bin/sh\n${script}\n`);
      chmodSync(join(hostRoot, 'getent'), 0o755);
      return new Accounts({ hostRoot: '/', getent: () => join(hostRoot, 'getent') });
    };
    const both = (passwd: string, group: string) => `[ "$1" = passwd ] && echo '${passwd}' || echo '${group}'`;

    it('returns the accounts that getent lists', async () => {
      const accounts = instead(both('ldapuser:x:20001:20000::/home/l:/bin/zsh', 'staff:*:20000:'));
      assert.deepEqual(
        (await accounts.list(signal)).map(({ password, ...account }) => account),
        [
          {
            name: 'ldapuser',
            userId: 20001,
            primaryGroupId: 20000,
            shell: '/bin/zsh',
            groups: [{ id: 20000, name: 'staff' }],
          },
        ],
      );
      assert.deepEqual(accounts.status(), { state: 'on', source: 'nss' });
    });

    for (const [what, script, reason] of [
      [
        'fails',
        "echo 'Enumeration not supported on passwd' >&2; exit 3",
        /exited with status 3: Enumeration not supported/,
      ],
      ['lists nobody', 'exit 0', /lists no accounts/],
      [
        'lists a whole directory',
        'i=0; while [ $i -lt 5001 ]; do echo "u$i:x:$i:1:::"; i=$((i+1)); done',
        /lists 5001/,
      ],
      ['never ends listing', 'exec yes a:x:1:1:::', /produced too much output/],
      ['gives nonsense', 'head -c 100000 /dev/urandom', /lists no accounts/],
    ] as const) {
      it(`returns the accounts in the files if getent ${what}`, async () => {
        const accounts = instead(script);
        assert.ok((await accounts.list(signal)).some(({ name }) => name === 'root'));
        const status = accounts.status();
        assert.deepEqual([status.state, status.source], ['degraded', 'files']);
        assert.match(status.reason ?? '', reason);
      });
    }

    it('returns the accounts in the files if getent is missing', async () => {
      const accounts = new Accounts({ hostRoot: '/', getent: () => undefined });
      await accounts.list(signal);
      assert.deepEqual(accounts.status(), { state: 'on', source: 'files' });
    });

    it('lists the user who runs the tests, with all groups', async function () {
      if (findTool('getent') === undefined) return skip(this, 'this system has no getent');
      const { uid, gid, username } = userInfo();
      const account = (await new Accounts({ hostRoot: '/' }).list(signal)).find(({ name }) => name === username);
      assert.deepEqual([account?.userId, account?.primaryGroupId], [uid, gid]);
      assert.equal(account?.groups[0]?.id, gid);
    });

    it('returns the same accounts as the files if there is no other source', async function () {
      if (findTool('getent') === undefined) return skip(this, 'this system has no getent');
      const byFiles = await new Accounts({ hostRoot: '/', getent: () => undefined }).list(signal);
      const names = new Set((await new Accounts({ hostRoot: '/' }).list(signal)).map(({ name }) => name));
      for (const { name } of byFiles) assert.ok(names.has(name), name);
    });

    it('stops when it is aborted', async () => {
      await assert.rejects(new Accounts({ hostRoot: '/' }).list(AbortSignal.abort(new Error('stopping'))), /stopping/);
    });
  });
});

describe('UserNames', () => {
  let clock: sinon.SinonFakeTimers;

  beforeEach(() => {
    clock = sinon.useFakeTimers();
  });
  afterEach(() => clock.restore());

  const replacePasswd = (text: string) => {
    put('etc/passwd.new', text);
    renameSync(join(hostRoot, 'etc/passwd.new'), join(hostRoot, 'etc/passwd'));
  };

  it('returns the name of an id, the first of several', () => {
    const names = new UserNames({ hostRoot, clock: systemClock });
    assert.equal(names.userName(0), 'root');
    assert.equal(names.userName(1000), 'alice');
    assert.equal(names.userName(4711), undefined);
  });

  it('reads changed names within a second', async () => {
    const names = new UserNames({ hostRoot, clock: systemClock });
    assert.equal(names.userName(1001), undefined);
    replacePasswd(`${PASSWD}bob:x:1001:1001:::\n`);
    await clock.tickAsync(999);
    assert.equal(names.userName(1001), undefined);
    await clock.tickAsync(1);
    assert.equal(names.userName(1001), 'bob');
  });

  it('keeps known names while the files are unreadable', async () => {
    const names = new UserNames({ hostRoot, clock: systemClock });
    assert.equal(names.userName(0), 'root');
    rmSync(join(hostRoot, 'etc/passwd'));
    await clock.tickAsync(1_000);
    assert.equal(names.userName(0), 'root');
  });
});
