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

describe('custom checks', () => {
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

  it('are none when none are wanted', () =>
    assert.deepEqual(readCustomChecks(undefined, defaultRules()), { checks: [] }));

  it('are read', () => {
    const { checks, refused } = withRule({});
    assert.equal(refused, undefined);
    assert.deepEqual(
      checks.map(({ rule }) => rule.id),
      ['custom.motd'],
    );
  });

  it('are read whatever the case of the digest', () => {
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
    it(`are refused with ${what}`, () => {
      const { checks, refused } = withRule(change);
      assert.deepEqual(checks, []);
      assert.match(refused ?? '', why);
      assert.ok(refused?.startsWith(`${path}: `));
    });

  it('are refused with an id twice', () =>
    assert.match(write(JSON.stringify({ rules: [RULE, RULE] })).refused ?? '', /rules\[1\]: .* twice/));

  it('are refused with a name twice in one object: readers differ in which one they take', () => {
    const text = JSON.stringify({ rules: [RULE] }).replace('"id":', '"id":"custom.other","id":');
    assert.equal(write(text).refused, `${path}: rules.id is there twice`);
  });

  it('are refused when there are too many', () => {
    const rules = Array.from({ length: 201 }, (_, i) => ({ ...RULE, id: `custom.r${i}` }));
    assert.match(write(JSON.stringify({ rules })).refused ?? '', /rules: has more than 200 rules/);
  });

  it('are refused when they are too long', () =>
    assert.match(
      write(JSON.stringify({ rules: [] }) + ' '.repeat(256 * 1024)).refused ?? '',
      /longer than 262144 bytes/,
    ));

  it('are refused with another digest; which one is not said', () => {
    writeFileSync(path, '{}');
    assert.equal(read('0'.repeat(64)).refused, `${path}: its SHA-256 is not the one expected`);
  });

  it('are refused when they are no JSON, and nothing of it is said', () =>
    assert.equal(write('{"secret": ').refused, `${path}: is not JSON in UTF-8`));

  for (const [what, spoil, why] of [
    ['others may write', () => chmodSync(path, 0o646), /is writable by group or others/],
    ['its group may write', () => chmodSync(path, 0o664), /is writable by group or others/],
    ['it belongs to somebody else', () => chownSync(path, 65534, 0), /does not belong to root/],
  ] as const)
    it(`are refused when ${what}`, () => {
      const text = JSON.stringify({ rules: [RULE] });
      writeFileSync(path, text);
      spoil();
      assert.match(read(digest(text)).refused ?? '', why);
    });

  it('are refused when they are a link, a FIFO or a folder, or not there', () => {
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

  it('are refused or read, and never more, whatever is in them', () => {
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

describe('the file of custom checks', () => {
  it('is evaluated before it is opened: to open a device has effects', async () => {
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
    it(`is refused when it is a file of the kernel, as ${path}`, () =>
      assert.equal(readCustomChecks({ path, sha256: '' }, defaultRules()).refused, `${path}: ${why}`));
});
