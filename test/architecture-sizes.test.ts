import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/*
 * A ratchet. Growth needs a changed line in architecture-sizes.json in the same commit, so that a reviewer sees it. The
 * limit of a folder that has shrunk by more than the slack must be lowered.
 */

interface Size {
  readonly files: number;
  readonly lines: number;
  /** The longest row of a Markdown table, in characters. */
  readonly longestRow: number;
}

const LIMITS = 'test/architecture-sizes.json';
const WRITES = process.env.VAKT_WRITE_SIZES === '1';
/** Lines are limited in steps, so that an ordinary fix changes no limit. */
const STEP = 100;

/** Folders whose subfolders each have their own limit, such as `src/agent/hub`. */
const PARENTS = ['src/core', 'src/agent', 'test/core', 'test/agent'];
const roomsIn = (folder: string): string[] =>
  readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isDirectory());
const rooms = () =>
  ['src', 'test']
    .flatMap(roomsIn)
    .flatMap((room) => (PARENTS.includes(room) ? roomsIn(room) : [room]))
    .concat('docs', 'scripts');

function sizeOf(room: string): Size {
  const paths = readdirSync(room, { recursive: true, encoding: 'utf8' }).map((file) => join(room, file));
  const sources = paths.filter((path) => /\.(?:ts|mjs|c)$/.test(path));
  const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);
  const rows = paths
    .filter((path) => path.endsWith('.md'))
    .flatMap(linesOf)
    .filter((line) => line.startsWith('|'));
  return {
    files: sources.length,
    lines: Math.ceil(sources.reduce((sum, path) => sum + linesOf(path).length, 0) / STEP) * STEP,
    longestRow: Math.max(0, ...rows.map(({ length }) => length)),
  };
}

describe('The size of each folder', () => {
  if (WRITES)
    writeFileSync(
      LIMITS,
      `${JSON.stringify(Object.fromEntries(rooms().map((room) => [room, sizeOf(room)])), null, 2)}\n`,
    );
  const limits = JSON.parse(readFileSync(LIMITS, 'utf8')) as Record<string, Size>;

  it('architecture-sizes.json has a limit for exactly the existing folders', () => {
    assert.deepEqual(Object.keys(limits).sort(), rooms().sort());
  });

  for (const [room, limit] of Object.entries(limits)) {
    it(`${room} is within its limit, and the limit is not too high`, () => {
      const size = sizeOf(room);
      const remedy = `VAKT_WRITE_SIZES=1 npm test -- architecture-sizes writes ${LIMITS}; the change is part of your commit.`;
      assert.ok(size.files <= limit.files, `${size.files} files instead of ${limit.files}. ${remedy}`);
      assert.ok(size.lines <= limit.lines, `${size.lines} lines instead of ${limit.lines}. ${remedy}`);
      assert.ok(size.longestRow <= limit.longestRow, `a row of ${size.longestRow} characters. ${remedy}`);
      assert.ok(
        size.lines >= limit.lines - 3 * STEP,
        `only ${size.lines} of ${limit.lines} lines: lower the limit. ${remedy}`,
      );
    });
  }
});
