import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { type CustomChecks, readCustomChecks } from '../../../src/agent/baseline/custom-checks.ts';
import { defaultRules } from '../../../src/agent/baseline/rule-set.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';

const RULE = {
  id: 'custom.motd',
  category: 'house',
  severity: 'Warning',
  level: 1,
  title: 'The message of the day names nobody',
  primitive: 'lines',
  params: { files: ['/etc/motd'], pattern: '^Owner: \\w+', want: 'none', ifMissing: 'pass' },
  appliesTo: { container: true },
};

describe('readCustomChecks', () => {
  let folder: string;
  let path: string;
  before(function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, whose the file has to be');
  });
  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'checks.json');
  });

  const digest = (text: string) => createHash('sha256').update(text).digest('hex');
  const read = (sha256: string): CustomChecks => readCustomChecks({ path, sha256 }, defaultRules());
  function write(text: string): CustomChecks {
    writeFileSync(path, text);
    return read(digest(text));
  }
  const withRule = (change: object) => write(JSON.stringify({ rules: [{ ...RULE, ...change }] }));

  it('returns no checks if none are configured', () =>
    assert.deepEqual(readCustomChecks(undefined, defaultRules()), { checks: [] }));

  it('returns the checks of a valid file', () => {
    const { checks, refused } = withRule({});
    assert.equal(refused, undefined);
    assert.deepEqual(
      checks.map(({ rule }) => rule.id),
      ['custom.motd'],
    );
  });

  it('accepts the digest in upper and lower case', () => {
    const text = JSON.stringify({ rules: [RULE] });
    writeFileSync(path, text);
    assert.equal(read(digest(text).toUpperCase()).checks.length, 1);
  });

  for (const [what, change, why] of [
    ['an id without the prefix', { id: 'sysctl.own' }, /rules\[0\]: its id does not begin with "custom\."/],
    ['look-around', { params: { ...RULE.params, pattern: 'a(?=b)' } }, /rules\[0\]\.params\.pattern: look-around/],
    [
      'a back-reference',
      { params: { ...RULE.params, pattern: '(a)\\1' } },
      /rules\[0\]\.params\.pattern: a back-reference/,
    ],
    ['a relative path', { params: { ...RULE.params, files: ['etc/motd'] } }, /rules\[0\]\.params\.files\[0\]: /],
    [
      'a path with ..',
      { params: { ...RULE.params, files: ['/etc/../root/x'] } },
      /rules\[0\]\.params\.files\[0\]: .*"\.\."/,
    ],
    ['a command', { command: 'rm -rf /' }, /rules\[0\]\.command: /],
    [
      'an unknown role',
      { appliesTo: { container: true, notRole: ['wizard'] } },
      /rules\[0\]\.appliesTo\.notRole: no role/,
    ],
  ] as const)
    it(`rejects a file with ${what}`, () => {
      const { checks, refused } = withRule(change);
      assert.deepEqual(checks, []);
      assert.match(refused ?? '', why);
      assert.ok(refused?.startsWith(`${path}: `));
    });

  it('rejects a file with a repeated id', () =>
    assert.match(write(JSON.stringify({ rules: [RULE, RULE] })).refused ?? '', /rules\[1\]: .* twice/));

  it('rejects a repeated name in one object, since parsers differ in the value that they use', () => {
    const text = JSON.stringify({ rules: [RULE] }).replace('"id":', '"id":"custom.other","id":');
    assert.equal(write(text).refused, `${path}: rules.id is there twice`);
  });

  it('rejects a file with too many rules', () => {
    const rules = Array.from({ length: 201 }, (_, i) => ({ ...RULE, id: `custom.r${i}` }));
    assert.match(write(JSON.stringify({ rules })).refused ?? '', /rules: has more than 200 rules/);
  });

  it('rejects a file that is too long', () =>
    assert.match(
      write(JSON.stringify({ rules: [] }) + ' '.repeat(256 * 1024)).refused ?? '',
      /longer than 262144 bytes/,
    ));

  it('rejects a file with another digest, without revealing which', () => {
    writeFileSync(path, '{}');
    assert.equal(read('0'.repeat(64)).refused, `${path}: its SHA-256 is not the one expected`);
  });

  it('rejects a file that is not JSON, without quoting it', () =>
    assert.equal(write('{"secret": ').refused, `${path}: is not JSON in UTF-8`));

  for (const [what, spoil, why] of [
    ['others may write', () => chmodSync(path, 0o646), /is writable by group or others/],
    ['its group may write', () => chmodSync(path, 0o664), /is writable by group or others/],
    ['it belongs to somebody else', () => chownSync(path, 65534, 0), /does not belong to root/],
  ] as const)
    it(`rejects a file if ${what}`, () => {
      const text = JSON.stringify({ rules: [RULE] });
      writeFileSync(path, text);
      spoil();
      assert.match(read(digest(text)).refused ?? '', why);
    });

  it('rejects a link, a FIFO, a folder and a missing file', () => {
    assert.match(read('').refused ?? '', /can't be read: ENOENT/);
    symlinkSync('/etc/passwd', path);
    assert.match(read('').refused ?? '', /is a symbolic link/);
    rmSync(path);
    execFileSync('mkfifo', [path]);
    assert.match(read('').refused ?? '', /is not a regular file/);
    path = folder;
    assert.match(read('').refused ?? '', /is not a regular file/);
    path = 'checks.json';
    assert.match(read('').refused ?? '', /is not an absolute path/);
  });

  it('returns checks or a reason for random contents, and never throws', () => {
    const text = JSON.stringify({ rules: [RULE] });
    const edit = fc.tuple(
      fc.nat(text.length),
      fc.nat(8),
      fc.oneof(fc.json({ maxDepth: 2 }), fc.string({ unit: 'binary', maxLength: 4 })),
    );
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 4 }), (edits) => {
        const changed = edits.reduce((old, [at, gone, put]) => old.slice(0, at) + put + old.slice(at + gone), text);
        const { checks, refused } = write(changed);
        if (refused !== undefined) assert.deepEqual(checks, []);
        else assert.equal(checks.length, (JSON.parse(changed) as { rules: unknown[] }).rules.length);
        for (const { rule } of checks) assert.match(rule.id, /^custom\./);
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });
});

describe('readCustomChecks before opening the file', () => {
  it('checks the type of the file first: opening a device has effects', async () => {
    const path = join(temporaryFolder(), 'socket');
    const server = createServer().listen(path);
    await once(server, 'listening');
    try {
      const { refused } = readCustomChecks({ path, sha256: '' }, defaultRules());
      assert.equal(refused, `${path}: is not a regular file`); // sockets can't be opened
    } finally {
      server.close();
    }
  });

  for (const [path, why] of [
    ['/proc/version', 'is empty'], // in size: to read some of the kernel's files has effects
    ['/sys/class/net/lo/speed', "can't be read: EINVAL"],
  ] as const)
    it(`rejects the kernel file ${path}`, () =>
      assert.equal(readCustomChecks({ path, sha256: '' }, defaultRules()).refused, `${path}: ${why}`));
});
