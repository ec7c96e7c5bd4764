import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../src/agent/commands/collect.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { worldOf } from './world.ts';

describe('vakt collect', () => {
  it('collect reports that a snapshot is incomplete, and how many elements are left out', async () => {
    const root = temporaryFolder();
    mkdirSync(join(root, 'etc'));
    const users = Array.from({ length: 5_003 }, (_, n) => `u${n}:x:${n + 1}:1::/:/bin/sh\n`);
    writeFileSync(join(root, 'etc/passwd'), users.join(''));
    const config = join(root, 'agent.json');
    writeFileSync(config, JSON.stringify({ identity: { kind: 'connectionString', file: 'secret' }, hostRoot: root }));
    const errors: string[] = [];
    const status = await run(
      ['LocalUsers', '--config', config],
      worldOf(() => {}, { stderr: (line) => errors.push(line) }),
    );
    assert.equal(status, 0);
    assert.deepEqual(errors.slice(0, 2), [
      'only 5000 of 5003 accounts',
      '3 elements left out, because the list has a limit.',
    ]);
  });
});
