import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

const SOURCES = new URL('../../src/', import.meta.url);
/** Sources that are not part of the running agent. */
const COMMANDS = /^(?:agent\/commands|core\/command-line|emulator|fleet)\//;

describe('The table of timers', () => {
  it('the table of timers names exactly the files of the agent that sleep', () => {
    const sleeping = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !COMMANDS.test(path))
      .filter((path) => /\.sleep\(/.test(readFileSync(new URL(path, SOURCES), 'utf8')))
      .sort();
    const page = readFileSync(new URL('README.md', SOURCES), 'utf8');
    const section = /^## Timers$(.*?)(?=^## |$(?![\s\S]))/ms.exec(page)?.[1] ?? '';
    const named = [...section.matchAll(/`([\w/-]+\.ts)`/g)].map(([, path = '']) => path);
    const mentioned = ['test/architecture-timers.test.ts', 'drain-pause.ts']; // what the text refers to
    const listed = [...new Set(named.filter((path) => !mentioned.includes(path)))].sort();
    assert.ok(sleeping.length > 20, 'the sources were not found');
    assert.deepEqual(listed, sleeping);
  });

  it('core/base/clock.ts is the only file of the agent that uses timers directly', () => {
    const using = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !COMMANDS.test(path))
      .filter((path) => /(?<![.\w])set(?:Timeout|Interval)\(/.test(readFileSync(new URL(path, SOURCES), 'utf8')));
    assert.deepEqual(using, ['core/base/clock.ts']);
  });
});
