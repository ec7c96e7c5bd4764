import assert from 'node:assert/strict';
import fc from 'fast-check';
import { groupLines, NO_ID, passwdLines, shadowLines } from '../../../src/agent/host/account-files.ts';
import { GLIBC } from '../../../src/agent/host/c-library.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { processorTime } from '../../harness/processor-time.ts';

const HASH = '$y$j9T$saltsaltsalt$Zm9vYmFyZm9vYmFyZm9vYmFy';

const passwd = (text: string) => [...passwdLines(Buffer.from(text))];
const group = (text: string) => [...groupLines(Buffer.from(text))];
const MUSL = { isMusl: true };
const shadow = (text: string) => [...shadowLines(Buffer.from(text))];

describe('passwdLines', () => {
  it('reads all fields, and counts all lines', () => {
    assert.deepEqual(passwd('# by hand\n\nann:x:1000:100:Ann,,,:/home/ann:/bin/sh\n'), [
      {
        line: 3,
        name: 'ann',
        nis: false,
        password: 'none',
        userId: 1000,
        groupId: 100,
        home: '/home/ann',
        shell: '/bin/sh',
      },
    ]);
  });

  it('reads lines without their last fields, and none with fewer than four', () => {
    assert.deepEqual(
      passwd('toor::0:0\nshort:x:0\nname\n:x:0:0:::').map(({ name, userId, home, shell }) => [
        name,
        userId,
        home,
        shell,
      ]),
      [['toor', 0, '', '']],
    );
  });

  for (const [field, id] of [
    ['0', 0],
    ['00', 0],
    ['\t +12', 12],
    ['-0', 0],
    ['-1', NO_ID],
    ['4294967296', NO_ID],
    ['99999999999999999999', NO_ID],
    ['9'.repeat(400), NO_ID],
    ['0'.repeat(400), 0],
    [`${'0'.repeat(400)}7`, 7],
    ['', Number.NaN],
    ['0x0', Number.NaN],
    ['1 ', Number.NaN],
  ] as const) {
    it(`reads "${field}" as id ${id}`, () => assert.equal(passwd(`a:x:${field}:1:::`)[0]?.userId, id));
  }

  for (const [field, password] of [
    ['', 'empty'],
    ['x', 'none'],
    ['*', 'none'],
    ['!', 'none'],
    ['!!', 'none'],
    [`!${HASH}`, 'locked'],
    ['*LK*', 'locked'],
    [HASH, 'hash'],
    ['xx', 'hash'],
  ] as const) {
    it(`reads a password field of "${field}" as ${password}`, () =>
      assert.equal(passwd(`a:${field}:1:1:::`)[0]?.password, password));
  }

  it('ignores the rest of a line after a NUL', () => {
    const text =
      'a:x:0:0\0x::/root:/bin/sh\nb:x:1\0:1:::\nc\0:x:1:1:::\n\0d:x:1:1:::\ne:x:2:2:::/sh\0/x\n\0\0\nf:x:3:3\0';
    assert.deepEqual(
      passwd(text).map(({ line, name, userId, groupId, shell }) => [line, name, userId, groupId, shell]),
      [
        [1, 'a', 0, 0, ''],
        [5, 'e', 2, 2, '/sh'],
        [7, 'f', 3, 3, ''],
      ],
    );
  });

  it('distinguishes NIS instructions from accounts, even if only the sign is present', () => {
    assert.deepEqual(
      passwd('+\n-bob\n+ann::0:0:::\n +::::::\nann:x:1:1:::').map(({ name, nis }) => [name, nis]),
      [
        ['+', true],
        ['-bob', true],
        ['+ann', true],
        ['+', true],
        ['ann', false],
      ],
    );
  });
});

describe('passwdLines on a system with musl', () => {
  const namesAndIds = (text: string) =>
    [...passwdLines(Buffer.from(text), MUSL)].map(({ name, nis, userId }) => [name, nis, userId]);

  it('reads accounts with any name', () => {
    const names = ['#hash', '+plus', '-minus', '+', ' blank', ':colon', 'root'];
    assert.deepEqual(
      namesAndIds(names.map((name) => `${name}:x:0:0::/root:/bin/sh`).join('\n')),
      names.map((name) => [name, false, 0]),
    );
  });

  for (const [field, id] of [
    ['', 0],
    ['4294967296', 0],
    ['42949672960000000000000000000000000000001', 1],
    ['007', 7],
    [' 0', Number.NaN],
    ['+0', Number.NaN],
    ['-1', Number.NaN],
  ] as const) {
    it(`reads "${field}" as id ${id}`, () => assert.deepEqual(namesAndIds(`a:x:${field}:1:::`), [['a', false, id]]));
  }

  it('ignores the rest of a line after a NUL, unless the name starts with it', () => {
    const lines = ['a:x:0:0\0::/root:/bin/sh', 'b:x:1:1:::/sh\0/x', 'c\0:x:2:2:::', '\0d:x:3:3:::', '\0'];
    assert.deepEqual(
      [...passwdLines(Buffer.from(lines.join('\n')), MUSL)].map(({ name, userId, shell }) => [name, userId, shell]),
      [
        ['b', 1, '/sh'],
        ['\0d', 3, ''],
      ],
    );
  });

  it('skips lines without their last fields', () => {
    assert.deepEqual(namesAndIds('toor::0:0\n\n:\na:x:0:0::/\n'), []);
  });
});

describe('groupLines', () => {
  it('reads all members, including those after a colon', () => {
    for (const library of [GLIBC, MUSL]) {
      const [sudo] = groupLines(Buffer.from('sudo:x:27:ann:,mallory'), library);
      assert.equal(sudo?.members, 'ann:,mallory');
    }
  });

  it('reads groups, with and without members', () => {
    assert.deepEqual(
      group('wheel:x:10:ann,bob\nempty:x:11:\nbare:x:12\nnone:x').map(({ name, groupId, members }) => [
        name,
        groupId,
        members,
      ]),
      [
        ['wheel', 10, 'ann,bob'],
        ['empty', 11, ''],
        ['bare', 12, ''],
      ],
    );
  });
});

describe('shadowLines', () => {
  it('reads the days and the method, and no other part of the hash', () => {
    const lines = shadow(`ann:${HASH}:19000:0:99999:7:30::\n`);
    assert.deepEqual(lines, [
      {
        line: 1,
        name: 'ann',
        nis: false,
        password: 'hash',
        method: '$y$',
        changed: 19_000,
        minDays: 0,
        maxDays: 99_999,
        inactiveDays: 30,
      },
    ]);
  });

  for (const [field, password, method] of [
    ['', 'empty', 'DES'],
    ['*', 'locked', 'DES'],
    ['!!', 'locked', 'DES'],
    [`!${HASH}`, 'locked', 'DES'],
    ['x', 'locked', 'DES'],
    ['$1$salt$hash', 'hash', '$1$'],
    ['$sha1$1$salt$hash', 'hash', '$sha1$'],
    ['$$', 'hash', 'DES'],
    ['$averylongnamethatisnone$x', 'hash', 'DES'],
    ['_J9..saltHashHashHas', 'hash', 'BSDi'],
    ['ab01FAX.bQRSU', 'hash', 'DES'],
  ] as const) {
    it(`reads a field of "${field}" as ${password}, ${method}`, () => {
      const [line] = shadow(`a:${field}:1:0:9:7:::`);
      assert.deepEqual([line?.password, line?.method], [password, method]);
    });
  }

  it('skips the entries that the C library skips', () => {
    assert.deepEqual(shadow('ann::19000:0\n:x:1:0:9\n#ann::1:0:9\n').length, 0);
  });

  it('takes negligible time for crafted files', () => {
    for (const text of ['\n', ' \n', ':\n', ' ', '#\n', 'a:', '9', '0', '\0', '\0\n']) {
      for (const read of [passwdLines, groupLines, shadowLines]) {
        for (const library of [GLIBC, MUSL]) {
          const used = processorTime();
          for (const _ of read(Buffer.from(`a:x:${text.repeat(100_000)}:0:::`), library));
          for (const _ of read(Buffer.from(text.repeat(100_000)), library));
          assert.ok(used() < 1_000, `${used()} ms for ${JSON.stringify(text)}`);
        }
      }
    }
  });

  it('reads any name on a system with musl, but no part of a hash as a name', () => {
    const names = [...shadowLines(Buffer.from(`#a:${HASH}:1::::::\n+b::1::::::\n:${HASH}:c:1::::::`), MUSL)];
    assert.deepEqual(
      names.map(({ name, nis, password }) => [name, nis, password]),
      [
        ['#a', false, 'hash'],
        ['+b', false, 'empty'],
      ],
    );
  });

  it('accepts any bytes, and never returns a hash as text', function () {
    this.timeout(600_000);
    const piece = fc.constantFrom('\n', ':', ' ', '#', '+', '!', '*', '$', '$6$', HASH, 'ann', '0', '-1', '\0', 'é');
    const bytes = fc.oneof(
      fc.uint8Array().map((array) => Buffer.from(array)),
      fc.array(piece, { maxLength: 40 }).map((pieces) => Buffer.from(pieces.join(''))),
    );
    const secret = HASH.slice(-24);
    fc.assert(
      fc.property(bytes, (content) => {
        const withoutHash = Buffer.from(content.toString('latin1').replaceAll(HASH, 'hash'), 'latin1'); // it could be a name
        const inSecretField = Buffer.concat([Buffer.from(`a:${HASH}:1:0:9\n`), withoutHash]);
        assert.equal([...shadowLines(inSecretField)][0]?.method, '$y$');
        assert.ok(!JSON.stringify([...shadowLines(inSecretField, MUSL)]).includes(secret));
        const lines = content.toString('latin1').split('\n').length;
        for (const read of [passwdLines, groupLines, shadowLines]) {
          const entries = [...read(content)];
          assert.ok(entries.every(({ line, name }) => line >= 1 && line <= lines && !name.includes(':')));
          assert.ok([...read(content, MUSL)].every(({ line, name }) => line >= 1 && line <= lines && name !== ''));
        }
        assert.ok(
          ![...shadowLines(Buffer.from(`a:${HASH}:1:0:9`))].some((line) => JSON.stringify(line).includes(secret)),
        );
      }),
      { numRuns: fuzzRuns(50_000) },
    );
  });
});
