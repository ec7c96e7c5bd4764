import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { PAGES, pageOf } from '../../../src/core/base/pages.ts';
import { TOP } from '../../harness/top.ts';

/** The fleet commands run only from a clone of the project, which has all pages; no installation contains them. */
const FROM_A_CLONE = /^fleet\//;

describe('A page that an error names', () => {
  for (const page of Object.keys(PAGES) as (keyof typeof PAGES)[]) {
    it(`pageOf returns the absolute path of the existing page: ${page}`, () => {
      const path = pageOf(page);
      assert.ok(isAbsolute(path), path);
      assert.equal(path, join(TOP, PAGES[page].source));
      assert.match(readFileSync(path, 'utf8'), /^# /m);
    });
  }

  it('sources name pages only by pageOf, since a bare file name does not exist in an installation', () => {
    const sources = readdirSync(join(TOP, 'src'), { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.ts') && path !== 'core/base/pages.ts' && !FROM_A_CLONE.test(path),
    );
    assert.ok(sources.length > 200, String(sources.length));
    const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
    const named = sources.flatMap((path) =>
      [...withoutComments(readFileSync(join(TOP, 'src', path), 'utf8')).matchAll(/[\w/.-]+\.md\b/g)].map(([page]) => ({
        path,
        page,
      })),
    );
    assert.deepEqual(named, []);
  });
});
