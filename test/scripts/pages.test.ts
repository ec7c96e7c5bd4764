import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const pages = ['.', 'src', 'test', 'scripts', 'config', 'docs', 'packaging'].flatMap((folder) =>
  readdirSync(folder, { recursive: folder !== '.', encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join(folder, path)),
);
const read = (path: string) => readFileSync(path, 'utf8');
const withoutBlocks = (page: string) => page.replace(/^( *)```[\s\S]*?^\1```$/gm, '');
const withoutCode = (page: string) => withoutBlocks(page).replace(/``[^\n]+?``|`[^`\n]+`/g, '');

/** The anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (page: string): string[] =>
  [...withoutBlocks(page).matchAll(/^#+ +(.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );

describe('pages', () => {
  it('have links that lead somewhere', () => {
    const links = pages.flatMap((page) =>
      [...withoutCode(read(page)).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(
        ([link, path = '', anchor]) => ({ page, link, target: path === '' ? page : join(dirname(page), path), anchor }),
      ),
    );
    assert.ok(links.length > 50, `${links.length} links`);
    const broken = links.filter(
      ({ target, anchor }) =>
        !existsSync(target) || (anchor !== undefined && !anchorsOf(read(target)).includes(anchor)),
    );
    assert.deepEqual(
      broken.map(({ page, link }) => `${page}: ${link}`),
      [],
    );
  });
});
