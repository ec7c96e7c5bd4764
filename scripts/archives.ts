import { spawnSync } from 'node:child_process';

/*
 * The archives of a Debian package (deb(5)) beside tar, which is in src/agent/commands/tar.ts: ar(5), and compression by xz.
 *
 * Written here so that builds are reproducible: an archive contains no owner or time of the build machine, only the given
 * time.
 */

/** Runs xz(1), with a setting that needs 9 MiB of memory to unpack on the device. @throws {Error} without xz */
export function xz(contents: Uint8Array): Buffer {
  const args = ['--compress', '--stdout', '--check=crc64', '--threads=1', '-6'];
  const { status, stdout, error } = spawnSync('xz', args, { input: contents, maxBuffer: contents.length + 1024 });
  if (status !== 0) throw new Error(`xz could not be run: ${error?.message ?? `it exited with ${status}`}`);
  return stdout;
}

/** For members with short names, as in a Debian package. */
export function ar(members: readonly (readonly [name: string, contents: Uint8Array])[], seconds: number): Buffer {
  const parts = members.flatMap(([name, contents]) => {
    const fields = [name.padEnd(16), `${seconds}`.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)];
    const header = `${fields.join('')}${`${contents.length}`.padEnd(10)}\`\n`;
    return [Buffer.from(header), contents, Buffer.alloc(contents.length % 2, '\n')];
  });
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}
