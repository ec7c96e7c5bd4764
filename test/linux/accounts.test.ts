import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sinon from 'sinon';
import { systemClock } from '../../src/base/clock.ts';
import { accountsFrom, listAccounts, parseGroup, parsePasswd, UserNames } from '../../src/linux/accounts.ts';

const PASSWD = `root:x:0:0:root:/root:/bin/bash
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
toor:x:0:0::/root:/bin/sh
short:x:5:60
`;
const GROUP = `root:x:0:
sudo:x:27:alice,bob
alice:x:1000:
docker:x:999:alice,alice
alsosudo:x:27:alice
`;

describe('parsePasswd', () => {
  it('reads accounts, two with the same id as well, and one whose last fields are missing', () => {
    assert.deepEqual(
      parsePasswd(PASSWD).map(({ name, userId }) => `${name} ${userId}`),
      ['root 0', 'alice 1000', 'toor 0', 'short 5'],
    );
  });

  for (const line of [
    '',
    '# comment',
    'name',
    'a:x:b:0:::',
    'a:x::0:::',
    ':x:0:0:::',
    '+nis:x:0:0:::',
    '-nis:x:0:0:::',
    'a:x:-1:0:::',
    'a:x:4294967295:0:::',
    'a:x:99999999999:0:::',
  ]) {
    it(`passes over "${line}"`, () => assert.equal(parsePasswd(`${line}\n${PASSWD}`).length, 4));
  }

  it('takes any text', () => {
    const line = fc
      .array(fc.oneof(fc.string(), fc.nat().map(String)), { maxLength: 8 })
      .map((parts) => parts.join(':'));
    fc.assert(
      fc.property(fc.array(line), fc.array(line), (passwd, group) => {
        for (const { groups } of accountsFrom(passwd.join('\n'), group.join('\n'))) assert.ok(groups.length > 0);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('accountsFrom', () => {
  it('lists the primary group first and no group twice', () => {
    const alice = accountsFrom(PASSWD, GROUP).find(({ name }) => name === 'alice');
    assert.deepEqual(alice?.groups, [
      { id: 1000, name: 'alice' },
      { id: 27, name: 'sudo' },
      { id: 999, name: 'docker' },
    ]);
  });

  it('calls a group without a name by its id', () => {
    assert.deepEqual(accountsFrom('a:x:1:4711:::', '')[0]?.groups, [{ id: 4711, name: '4711' }]);
  });

  it('reads groups without members', () => assert.deepEqual(parseGroup('wheel:x:10:')[0]?.members, ['']));
});

describe('the files of a host', () => {
  let hostRoot: string;
  let clock: sinon.SinonFakeTimers;

  beforeEach(() => {
    hostRoot = mkdtempSync(join(tmpdir(), 'vakt-host-'));
    mkdirSync(join(hostRoot, 'etc'));
    writeFileSync(join(hostRoot, 'etc/passwd'), PASSWD);
    clock = sinon.useFakeTimers();
  });
  afterEach(() => {
    clock.restore();
    rmSync(hostRoot, { recursive: true });
  });

  const replacePasswd = (text: string) => {
    writeFileSync(join(hostRoot, 'etc/passwd.new'), text);
    renameSync(join(hostRoot, 'etc/passwd.new'), join(hostRoot, 'etc/passwd'));
  };

  it('are those under hostRoot; the group file may be missing', async () => {
    const [, alice] = await listAccounts(hostRoot);
    assert.deepEqual(alice?.groups, [{ id: 1000, name: '1000' }]);
  });

  it('reject with a remedy when passwd is missing', async () => {
    await assert.rejects(listAccounts(join(hostRoot, 'nowhere')), { name: 'AgentError', remedy: /hostRoot/ });
  });

  it('reject when one is too long to be true', async () => {
    writeFileSync(join(hostRoot, 'etc/group'), 'x'.repeat(5 * 1024 * 1024));
    await assert.rejects(listAccounts(hostRoot), { message: /longer than/ });
  });

  it('give names to ids, the first of several', () => {
    const names = new UserNames({ hostRoot, clock: systemClock });
    assert.equal(names.userName(0), 'root');
    assert.equal(names.userName(1000), 'alice');
    assert.equal(names.userName(4711), undefined);
  });

  it('are read again once they changed, at most a second later', async () => {
    const names = new UserNames({ hostRoot, clock: systemClock });
    assert.equal(names.userName(1001), undefined);
    replacePasswd(`${PASSWD}bob:x:1001:1001:::\n`);
    await clock.tickAsync(999);
    assert.equal(names.userName(1001), undefined);
    await clock.tickAsync(1);
    assert.equal(names.userName(1001), 'bob');
  });

  it('stay known while they cannot be read', async () => {
    const names = new UserNames({ hostRoot, clock: systemClock });
    assert.equal(names.userName(0), 'root');
    rmSync(join(hostRoot, 'etc/passwd'));
    await clock.tickAsync(1_000);
    assert.equal(names.userName(0), 'root');
  });
});

it('this machine has the account that runs the tests', async () => {
  const { uid, gid, username } = userInfo();
  const account = (await listAccounts('/')).find(({ name }) => name === username);
  assert.deepEqual([account?.userId, account?.primaryGroupId], [uid, gid]);
});
