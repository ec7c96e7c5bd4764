import { gzipSync } from 'node:zlib';

/*
 * tar(5) in POSIX's ustar format. The result depends only on its input: an archive contains no owner, file order or time of
 * the machine, only the given time.
 */

/** A file, folder or symbolic link. */
export type Entry = { readonly path: string; readonly mode: number } & (
  | { readonly kind: 'file'; readonly contents: Uint8Array }
  | { readonly kind: 'folder' }
  | { readonly kind: 'link'; readonly target: string }
);

const BLOCK = 512;

/** All entries belong to root. Their order is kept; folders must come before their contents. */
export function tar(entries: readonly Entry[], seconds: number): Buffer {
  const blocks = entries.flatMap((entry) => {
    const contents = entry.kind === 'file' ? entry.contents : new Uint8Array();
    return [tarHeader(entry, contents.length, seconds), contents, padding(contents.length, BLOCK)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

const TYPES = { file: '0', link: '2', folder: '5' } as const;

function tarHeader(entry: Entry, length: number, seconds: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const text = (at: number, size: number, value: string) => {
    const bytes = Buffer.from(value);
    if (bytes.length > size) throw new RangeError(`${entry.path}: "${value}" is too long for tar`);
    bytes.copy(header, at);
  };
  const octal = (at: number, size: number, value: number) => text(at, size, value.toString(8).padStart(size - 1, '0'));
  const name = entry.path === '.' ? '' : entry.path;
  text(0, 100, `./${name}${entry.kind === 'folder' && name !== '' ? '/' : ''}`);
  octal(100, 8, entry.mode);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, length);
  octal(136, 12, seconds);
  text(156, 1, TYPES[entry.kind]);
  text(157, 100, entry.kind === 'link' ? entry.target : '');
  text(257, 8, 'ustar\0' + '00');
  text(265, 32, 'root');
  text(297, 32, 'root');
  header.fill(' ', 148, 156);
  octal(
    148,
    7,
    header.reduce((sum, byte) => sum + byte, 0),
  );
  return header;
}

/** Best compression, without name and time in the header. */
export const gzip = (contents: Uint8Array): Buffer => gzipSync(contents, { level: 9 });

const padding = (length: number, block: number) => Buffer.alloc((block - (length % block)) % block);
