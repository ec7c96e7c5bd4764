import assert from 'node:assert/strict';
import { linkSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StateFolder } from '../../../src/agent/state/state-folder.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from './immediate-state-files.ts';

describe('StateFolder', () => {
  let folder: string;
  let state: StateFolder;

  beforeEach(() => {
    folder = temporaryFolder();
    state = new StateFolder(folder, immediateStateFiles);
  });

  const file = () => join(folder, 'a.json');
  const read = () => {
    const reasons: string[] = [];
    return { content: state.read('a.json', (reason) => reasons.push(reason)), reasons };
  };

  it('reads what it has written, in a file of its own user', () => {
    state.write('a.json', { b: [1] });
    assert.deepEqual(read(), { content: { b: [1] }, reasons: [] });
    assert.equal(statSync(file()).mode & 0o777, 0o600);
  });

  it('logs nothing about a file that does not exist', () => {
    assert.deepEqual(read(), { content: undefined, reasons: [] });
  });

  for (const [what, make, reason] of [
    ['text that is not JSON, without quoting it', (path) => writeFileSync(path, '{"secret'), /^it is not JSON$/],
    ['a file that is too large', (path) => writeFileSync(path, ' '.repeat(65 * 1024)), /is larger than 65536 bytes$/],
    ['a folder', (path) => mkdirSync(path), /is not a regular file$/],
    [
      'a link, which could lead anywhere',
      (path) => {
        writeFileSync(`${path}.target`, '{}');
        symlinkSync(`${path}.target`, path);
      },
      /is a symbolic link$/,
    ],
    [
      'a file with another name',
      (path) => {
        writeFileSync(`${path}.target`, '{}');
        linkSync(`${path}.target`, path);
      },
      /has more than one hard link$/,
    ],
  ] as [string, (path: string) => void, RegExp][]) {
    it(`does not read ${what}, and says why`, () => {
      make(file());
      const { content, reasons } = read();
      assert.deepEqual([content, reasons.length], [undefined, 1]);
      assert.match(reasons[0] ?? '', reason);
    });
  }
});
