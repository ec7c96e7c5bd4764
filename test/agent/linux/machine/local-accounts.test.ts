import assert from 'node:assert/strict';
import fc from 'fast-check';
import * as v from 'valibot';
import { localUsers } from '../../../../src/agent/collectors/local-users.ts';
import { accountsFrom, passwdEntries, passwordsIn } from '../../../../src/agent/linux/machine/local-accounts.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { sources } from '../../collectors/samples.ts';
import { mutated } from '../mutated.ts';

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
const HASH = '$6$rounds=5000$saltsalt$Zm9vYmFy';
const SHADOW = `root:${HASH}:19000:0:99999:7:::
alice:!${HASH}:19000:0:99999:7:::
daemon:*:19000:0:99999:7:::
sshd:!:19000::::::
never:!!:19000::::::
guest::19000::::::
short:
x:x:1:0:9
root::1::::::
`;

describe('passwdEntries', () => {
  it('reads accounts, including two with the same id and one without its last fields', () => {
    assert.deepEqual(
      passwdEntries(Buffer.from(PASSWD)).map(({ name, userId, shell }) => `${name} ${userId} ${shell}`),
      ['root 0 /bin/bash', 'alice 1000 /bin/bash', 'toor 0 /bin/sh', 'short 5 undefined'],
    );
  });

  it('reads accounts as the C library does, with spaces before a line or a number', () => {
    const [account] = passwdEntries(Buffer.from(' \ttoor::  +0: 0:::\n'));
    assert.deepEqual(account, { name: 'toor', userId: 0, primaryGroupId: 0, password: 'empty' });
  });

  it('returns an account once even if several sources list it', () =>
    assert.equal(passwdEntries(Buffer.from(PASSWD + PASSWD)).length, 4));

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
    '+',
  ]) {
    it(`skips "${line}"`, () => assert.equal(passwdEntries(Buffer.from(`${line}\n${PASSWD}`)).length, 4));
  }

  for (const [field, password] of [
    ['x', undefined],
    ['*', undefined],
    ['!', undefined],
    ['', 'empty'],
    [`!${HASH}`, undefined],
    [HASH, 'set'],
  ]) {
    it(`reads a password of "${field}" as ${password}`, () => {
      const [entry] = passwdEntries(Buffer.from(`a:${field}:1:1:::`));
      assert.equal(entry?.password, password);
      assert.ok(!JSON.stringify(entry).includes(HASH));
    });
  }
});

describe('shadowPasswords', () => {
  it('returns the kind of each password, and the first one of a repeated name', () => {
    assert.deepEqual(Object.fromEntries(passwordsIn(Buffer.from(SHADOW))), {
      root: 'set',
      alice: 'locked',
      daemon: 'locked',
      sshd: 'locked',
      never: 'locked',
      guest: 'empty',
      x: 'locked',
    });
  });
});

describe('accountsFrom', () => {
  const from = (passwd: string, group: string) => accountsFrom(Buffer.from(passwd), Buffer.from(group));

  it('lists the primary group first and no group twice', () => {
    const alice = from(PASSWD, GROUP).find(({ name }) => name === 'alice');
    assert.deepEqual(alice?.groups, [
      { id: 1000, name: 'alice' },
      { id: 27, name: 'sudo' },
      { id: 999, name: 'docker' },
    ]);
  });

  it('uses the id of a group without a name', () => {
    assert.deepEqual(from('a:x:1:4711:::', '')[0]?.groups, [{ id: 4711, name: '4711' }]);
  });

  it('lists groups only for the first account of a name', () => {
    const accounts = from('a:x:1:1:::\na:x:2:2:::', 'wheel:x:10:a');
    assert.deepEqual(
      accounts.map(({ groups }) => groups.map(({ id }) => id)),
      [[1, 10], [2]],
    );
  });

  it('reads a password from the passwd file if present, or else from the shadow file', () => {
    const accounts = accountsFrom(
      Buffer.from('a::1:1:::\nb:x:2:2:::\nc:x:3:3:::'),
      Buffer.alloc(0),
      passwordsIn(Buffer.from('a:*:1:0:9\nb:*:1:0:9\n')),
    );
    assert.deepEqual(
      accounts.map(({ password }) => password),
      ['empty', 'locked', undefined],
    );
  });

  it('takes negligible time for crafted files', () => {
    const many = (line: (n: number) => string) => Array.from({ length: 40_000 }, (_, n) => line(n)).join('\n');
    const accounts = from(
      many((n) => `a:x:${n}:0:::`),
      many((n) => `g${n}:x:${n}:a`),
    );
    assert.equal(accounts.length, 40_000);
    assert.ok(accounts.reduce((all, { groups }) => all + groups.length, 0) <= 80_000);
  });
});

describe('on any files', () => {
  const field = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.nat().map(String),
    fc.constantFrom('x', '', '*', '!', HASH, '__proto__', 'constructor', 'a', 'b', 'a,b', '+', '0', '4294967295'),
  );
  const lines = fc.array(
    fc.array(field, { maxLength: 8 }).map((fields) => fields.join(':')),
    { maxLength: 6 },
  );
  const file = (golden: string) =>
    fc.oneof(
      lines.map((all) => all.join('\n')),
      mutated(golden),
      fc.string(),
    );

  it('returns valid accounts, and no hash', async function () {
    this.timeout(600_000);
    await fc.assert(
      fc.asyncProperty(file(PASSWD), file(GROUP), file(SHADOW), async (passwd, group, shadow) => {
        const accounts = accountsFrom(Buffer.from(passwd), Buffer.from(group), passwordsIn(Buffer.from(shadow)));
        assert.ok(accounts.length <= passwd.split('\n').length);
        const from = { ...sources, accounts: { ...sources.accounts, list: async () => accounts } };
        for (const payload of await localUsers.collect(from, new AbortController().signal)) {
          v.parse(localUsers.payload, payload);
          const { UserName, GroupNames, ...rest } = payload;
          if (!passwd.includes(HASH)) assert.ok(!JSON.stringify(rest).includes('$6$'));
          const { ExtraDetails: { Password = 'set' } = {} } = payload as { ExtraDetails?: Record<string, string> };
          assert.match(Password, /^(?:set|locked|empty)$/);
        }
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('returns only names and kinds of passwords from shadow entries', function () {
    this.timeout(600_000);
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), file(SHADOW)), (shadow) => {
        const bytes = Buffer.from(shadow as string);
        for (const [name, password] of passwordsIn(bytes)) {
          assert.ok(name.length <= bytes.length && !name.includes(':'));
          assert.match(password, /^(?:set|locked|empty)$/);
        }
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
