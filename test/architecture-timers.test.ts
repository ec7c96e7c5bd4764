import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

const SOURCES = new URL('../../src/', import.meta.url);
/** Not in the agent. */
const COMMANDS = /^(?:agent\/commands|core\/command-line|emulator|fleet)\//;

describe('The table of timers', () => {
  it('names every file of the agent that sleeps, and no other', () => {
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

  it('is complete: no other file of the agent uses timers of its own', () => {
    const using = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !COMMANDS.test(path))
      .filter((path) => /(?<![.\w])set(?:Timeout|Interval)\(/.test(readFileSync(new URL(path, SOURCES), 'utf8')));
    assert.deepEqual(using, ['core/base/clock.ts']);
  });
});
