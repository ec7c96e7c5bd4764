import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STATE_FILES } from '../../../src/agent/state/read-state.ts';

/** Folders whose files name state files; the others name files of the system, or of other programs. */
const FOLDERS = [
  ...['composition', 'config', 'hub', 'identity', 'linux/audit', 'linux/logins', 'linux/streams', 'pipeline', 'state'],
];

describe('The list of state files', () => {
  it('contains every file name of JSON that the agent uses in its state directory', () => {
    const sources = [...FOLDERS.flatMap((folder) => filesIn(`src/agent/${folder}`)), 'src/agent/linux/events.ts'];
    const named = sources.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/'([a-z-]+\.json)'/g)].map(([, name = '']) => name),
    );
    const listed = Object.keys(STATE_FILES).filter((name) => name.endsWith('.json'));
    assert.deepEqual([...new Set(named)].sort(), listed.sort());
  });
});

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
