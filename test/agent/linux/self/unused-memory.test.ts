import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { reproducible } from '../../../../src/agent/linux/self/unused-memory.ts';
import { fuzzRuns } from '../../../fuzz.ts';

const MODULE = new URL('../../../../src/agent/linux/self/unused-memory.js', import.meta.url).href;

/** Uses much of Node, as a start does; gives memory back; then uses it again. */
const PROGRAM = `
  import { readFileSync } from 'node:fs';
  import { createHash, generateKeyPairSync } from 'node:crypto';
  import { gzipSync, gunzipSync } from 'node:zlib';
  import { UnusedMemory } from '${MODULE}';
  const unused = new UnusedMemory();
  const filePages = () => Number(/^RssFile:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))[1]);
  const work = () => {
    generateKeyPairSync('ed25519');
    const text = gunzipSync(gzipSync('ab'.repeat(1e5))).toString().replace(/(?<=a)b/gu, 'c');
    return createHash('sha256').update(text.normalize('NFKD') + new Intl.NumberFormat('de').format(1e6)).digest('hex');
  };
  const before = work();
  const pages = [filePages()];
  unused.release();
  pages.push(filePages());
  console.log(JSON.stringify({ pages, same: work() === before }));
`;

const section = (head: string, { rss = 24, anonymous = 0, swap = 0, locked = 0, hugetlb = 0 } = {}) =>
  [
    head,
    'Size:                 24 kB',
    `Rss:            ${String(rss).padStart(8)} kB`,
    `Anonymous:      ${String(anonymous).padStart(8)} kB`,
    `Private_Hugetlb: ${String(hugetlb).padStart(7)} kB`,
    `Swap:           ${String(swap).padStart(8)} kB`,
    `Locked:         ${String(locked).padStart(8)} kB`,
    'VmFlags: rd ex mr mw me ',
    '',
  ].join('\n');

const TEXT = '00b66000-026e1000 r-xp 00766000 fe:00 33141                      /usr/bin/node';

describe('UnusedMemory', () => {
  it('drops most pages of the program, which continues to work', () => {
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM], { encoding: 'utf8' });
    const { pages, same } = JSON.parse(output) as { pages: [number, number]; same: boolean };
    assert.equal(same, true);
    assert.ok(pages[1] < pages[0] / 2, `${pages[0]} kB of files before, ${pages[1]} after`);
  });
});

describe('reproducibleRanges', () => {
  it('returns code and constants of files', () => {
    const constants = '0400000-0b66000 r--p 00000000 fe:00 33141 /usr/lib/with a space.so (deleted)';
    assert.deepEqual(reproducible(section(TEXT) + section(constants)), [
      { identity: TEXT.slice(0, TEXT.indexOf('33141') + 5), start: 0xb66000, bytes: 0x26e1000 - 0xb66000 },
      { identity: '0400000-0b66000 r--p 00000000 fe:00 33141', start: 0x400000, bytes: 0x766000 },
    ]);
  });

  it('omits all ranges that could not be read from a file again', () => {
    const writable = '7f00-8f00 rw-p 00000000 fe:00 33141 /usr/bin/node';
    const shared = '7f00-8f00 r--s 00000000 fe:00 33141 /usr/share/locale';
    const code = '7f00-8f00 r-xp 00000000 00:00 0 ';
    const kernels = '7f00-8f00 r-xp 00000000 00:00 0                          [vdso]';
    for (const head of [writable, shared, code, kernels]) assert.deepEqual(reproducible(section(head)), [], head);
    for (const pages of [{ rss: 0 }, { anonymous: 4 }, { swap: 16 }, { locked: 24 }, { hugetlb: 2048 }]) {
      assert.deepEqual(reproducible(section(TEXT, pages)), [], JSON.stringify(pages));
    }
    assert.deepEqual(reproducible(`${TEXT}\n`), [], 'a kernel that does not count anonymous pages');
  });

  it('does not trust file names', () => {
    const names = ['/a\rAnonymous: 0 kB\rb', '/a\u2028Anonymous: 0 kB', `/\r${TEXT}\rRss: 4 kB\rAnonymous: 0 kB`];
    for (const name of names) {
      const written = `7f00-8f00 r--p 00000000 fe:00 33141 ${name}`;
      assert.deepEqual(reproducible(section(written, { anonymous: 4 })), [], JSON.stringify(name));
    }
  });

  it('reads the ranges of this process', () => {
    const smaps = readFileSync('/proc/self/smaps', 'latin1');
    const found = reproducible(smaps);
    assert.ok(found.length > 0);
    for (const { start, bytes } of found) {
      assert.ok(bytes > 0);
      assert.match(smaps, new RegExp(`^0*${start.toString(16)}-0*${(start + bytes).toString(16)} r-[x-]p`, 'm'));
    }
  });

  it('accepts any text', () => {
    const parts = fc.constantFrom(
      section(TEXT),
      section('7f00-8f00 r--p 00000000 fe:00 33141 /usr/bin/node'),
      TEXT,
      '\n',
      'Anonymous:  0 kB',
      'Swap: 4 kB',
      '7f00-',
      'ffffffffffffffff-0 r--p 0 0 1',
    );
    let found = 0;
    fc.assert(
      fc.property(fc.array(fc.oneof(parts, fc.string())), (texts) => {
        for (const { start, bytes } of reproducible(texts.join(''))) {
          found += 1;
          assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(bytes) && bytes > 0);
        }
      }),
      { numRuns: fuzzRuns(20_000) },
    );
    assert.ok(found > 20, `only ${found} were mappings`);
  });
});
