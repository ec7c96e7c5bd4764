import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readStateJson, readStateText } from '../../../src/agent/state/read-state.ts';
import { messageOf } from '../../../src/core/base/errors.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';

describe('A state file', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'pause.json');
  });
  const failure = (read: () => unknown): string => {
    try {
      read();
    } catch (error) {
      return `${messageOf(error)} ${JSON.stringify(error)}`;
    }
    return assert.fail('read');
  };
  const parsed = () => readStateJson(path, (value) => value);

  it('is read as JSON', () => {
    writeFileSync(path, '{"a":1}', { mode: 0o600 });
    assert.deepEqual(parsed(), { a: 1 });
  });

  it('reads as undefined when it is missing', () => assert.equal(readStateText(path), undefined));

  for (const [what, put] of Object.entries<() => void>({
    'a named pipe': () => void execFileSync('mkfifo', [path]),
    'a link to a device': () => symlinkSync('/dev/zero', path),
    'a link to nothing': () => symlinkSync('/nonexistent', path),
    'a folder': () => mkdirSync(path),
    'a second name of a file': () => {
      writeFileSync(join(folder, 'other'), '{}', { mode: 0o600 });
      linkSync(join(folder, 'other'), path);
    },
    'a file above its size limit': () => {
      writeFileSync(path, '{}', { mode: 0o600 });
      truncateSync(path, 4_097);
    },
    'a file that other users can write to': () => {
      writeFileSync(path, '{}');
      chmodSync(path, 0o622);
    },
  })) {
    it(`is rejected if it is ${what}`, () => {
      put();
      assert.match(failure(parsed), /pause\.json/);
    });
  }

  it("is rejected if it is another user's", function () {
    if (process.getuid?.() !== 0) return skip(this, 'needs root, to give a file to another user');
    writeFileSync(path, '{}', { mode: 0o600 });
    chownSync(path, 65_534, 65_534);
    assert.match(failure(parsed), /another user/);
  });

  it('is not quoted by the error of a parser', () => {
    writeFileSync(path, 'root:$6$salt', { mode: 0o600 });
    assert.doesNotMatch(failure(parsed), /root|salt/);
    writeFileSync(path, '"root:$6$salt"', { mode: 0o600 });
    const reject = (value: unknown) => {
      throw new Error(`not ${String(value)}`);
    };
    assert.doesNotMatch(
      failure(() => readStateJson(path, reject)),
      /root|salt/,
    );
  });
});
