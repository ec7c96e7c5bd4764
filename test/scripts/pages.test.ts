import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

const NOT_OURS = /^(?:node_modules|dist|build|\.git)(?:\/|$)/;
const TEXT = /\.(?:ts|mjs|js|json|md|sh|c|service|socket|yaml)$|(?:^|\/)(?:Dockerfile|run|install|uninstall)$/;

/** Every file of the repository, from its root. */
const files = ['.', 'src', 'test', 'scripts', 'config', 'docs', 'packaging', '.ci'].flatMap((folder) =>
  readdirSync(folder, { recursive: folder !== '.', encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => !NOT_OURS.test(path) && statSync(path).isFile()),
);
const read = (path: string) => readFileSync(path, 'utf8');
const withoutCode = (page: string) =>
  page.replace(/^( *)```[\s\S]*?^\1```$/gm, '').replace(/``[^\n]+?``|`[^`\n]+`/g, '');
const pages = files.filter((path) => path.endsWith('.md'));

/** The anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (page: string): string[] =>
  [...page.replace(/^( *)```[\s\S]*?^\1```$/gm, '').matchAll(/^#+ +(.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );

describe('pages', () => {
  for (const page of pages) {
    it(`${page} has links that lead somewhere`, () => {
      const broken = [...withoutCode(read(page)).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)]
        .map(([, link = '', anchor]) => ({ target: link === '' ? page : join(dirname(page), link), anchor }))
        .filter(
          ({ target, anchor }) =>
            !existsSync(target) || (anchor !== undefined && !anchorsOf(read(target)).includes(anchor)),
        );
      assert.deepEqual(broken, []);
    });
  }
});

describe('CONTRIBUTING.md', () => {
  it('names existing files and folders', () => {
    const paths = [...read('CONTRIBUTING.md').matchAll(/`((?:src|test|scripts|config|docs)\/[\w./-]*)`/g)].map(
      ([, path = '']) => path,
    );
    assert.ok(paths.length > 30, `${paths.length}`);
    assert.deepEqual(
      paths.filter((path) => !existsSync(path)),
      [],
    );
  });
});

describe('references to sections', () => {
  const sections = [...read('docs/contract.md').matchAll(/^## (§\d+) /gm)].map(([, section]) => section);
  const references = files
    .filter((path) => TEXT.test(path) && !path.startsWith('docs/') && !path.endsWith('pages.test.ts'))
    .flatMap((path) =>
      [...read(path).matchAll(/([\w.]+),? (§ ?\d+)/g)].map(([, page, section]) => ({ path, page, section })),
    );

  it('finds many references, and sections in the contract', () => {
    assert.ok(references.length > 20, String(references.length));
    assert.ok(sections.length > 5, String(sections.length));
  });

  it('name a section of docs/contract.md that exists', () => {
    const broken = references.filter(({ page, section }) => page !== 'contract' || !sections.includes(section));
    assert.deepEqual(broken, []);
  });
});
