import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';

/*
 * The two archive formats a Debian package is made of (deb(5)): ar(5), and tar(5) in POSIX's ustar form.
 *
 * Written here, because the packages must come out the same to the last byte wherever they are built: nothing of the
 * building machine is in them, no owner, no order of a folder, no time but the one given.
 */

/** A file, folder or symbolic link. */
export type Entry = { readonly path: string; readonly mode: number } & (
  | { readonly kind: 'file'; readonly contents: Uint8Array }
  | { readonly kind: 'folder' }
  | { readonly kind: 'link'; readonly target: string }
);

const BLOCK = 512;

/** Everything belongs to root. Entries come in the order given; folders must come before what is in them. */
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

/** The best compression, and neither name nor time in the header. */
export const gzip = (contents: Uint8Array): Buffer => gzipSync(contents, { level: 9 });

/** By xz(1) of the building machine, with what a device has the memory to unpack: 9 MiB. @throws {Error} without xz */
export function xz(contents: Uint8Array): Buffer {
  const args = ['--compress', '--stdout', '--check=crc64', '--threads=1', '-6'];
  const { status, stdout, error } = spawnSync('xz', args, { input: contents, maxBuffer: contents.length + 1024 });
  if (status !== 0) throw new Error(`xz could not be run: ${error?.message ?? `it ended with ${status}`}`);
  return stdout;
}

/** For few small members with short names, as a Debian package has them. */
export function ar(members: readonly (readonly [name: string, contents: Uint8Array])[], seconds: number): Buffer {
  const parts = members.flatMap(([name, contents]) => {
    const fields = [name.padEnd(16), `${seconds}`.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)];
    const header = `${fields.join('')}${`${contents.length}`.padEnd(10)}\`\n`;
    return [Buffer.from(header), contents, Buffer.alloc(contents.length % 2, '\n')];
  });
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}

const padding = (length: number, block: number) => Buffer.alloc((block - (length % block)) % block);
