import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evidenceRows, gatherEvidence } from '../../../../src/agent/commands/baseline/evidence.ts';
import { imageDigest, imageOption } from '../../../../src/agent/commands/baseline/image.ts';
import { run } from '../../../../src/agent/commands/baseline.ts';
import { AgentError } from '../../../../src/core/base/errors.ts';
import { UsageError } from '../../../../src/core/command-line/command.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { asNobody } from '../../../harness/nobody.ts';
import { require } from '../../../harness/require.ts';
import { worldOf } from '../world.ts';

const { signal } = new AbortController();
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe('vakt baseline --image', () => {
  let folder: string;
  let root: string;
  let file: string;
  const CONTENT = Buffer.alloc(3 * 1024 * 1024 + 17, 'image ');
  beforeEach(() => {
    folder = temporaryFolder();
    root = join(folder, 'root');
    file = join(folder, 'gateway 7.squashfs');
    mkdirSync(join(root, 'etc'), { recursive: true });
    writeFileSync(file, CONTENT);
  });

  it('imageDigest covers the whole file, including an empty one', async () => {
    assert.deepEqual(await imageDigest(imageOption(file, root), signal), {
      file: 'gateway 7.squashfs',
      sizeBytes: CONTENT.length,
      sha256: sha256(CONTENT),
      isMounted: false,
    });
    writeFileSync(file, '');
    assert.equal((await imageDigest(imageOption(file, root), signal)).sha256, sha256(Buffer.alloc(0)));
  });

  it('text, JSON, page, JUnit and SARIF reports contain the digest of the image', async function () {
    this.timeout(120_000);
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    const out: string[] = [];
    const world = worldOf((line) => out.push(line), { signal });
    const [html, junit, sarif] = ['a.html', 'a.xml', 'a.sarif'].map((name) => join(folder, name));
    const files = ['--html', html, '--junit', junit, '--sarif', sarif].map(String);
    const args = ['--root', root, '--image', file, '--digest', '--fail-on', 'never', 'file.etc-passwd'];
    await run([...args, '--json', ...files], world);
    const { evidence } = JSON.parse(out.splice(0).join('\n'));
    assert.deepEqual([evidence.image.sha256, evidence.image.sizeBytes], [sha256(CONTENT), CONTENT.length]);
    assert.match(evidence.treeSha256, /^[0-9a-f]{64}$/);
    for (const written of [html, junit].map((path) => readFileSync(String(path), 'utf8'))) {
      assert.ok(
        written.includes(`gateway 7.squashfs, ${CONTENT.length} bytes; that the tree is from it was not checked`),
      );
      assert.ok(written.includes(sha256(CONTENT)));
    }
    const [{ artifacts, properties }] = JSON.parse(readFileSync(String(sarif), 'utf8')).runs;
    assert.deepEqual(properties.evidence, evidence);
    assert.deepEqual(artifacts, [
      {
        location: { uri: 'gateway%207.squashfs' },
        roles: ['analysisTarget'],
        length: CONTENT.length,
        hashes: { 'sha-256': sha256(CONTENT) },
      },
    ]);
    await run(args, world);
    assert.ok(
      out
        .join(' ')
        .replace(/\s+/g, ' ')
        .includes(`SHA-256 of the image: ${sha256(CONTENT)}`),
    );
  });

  it('imageDigest rejects an image that is written to during the scan', async () => {
    const image = imageOption(file, root);
    appendFileSync(file, 'more');
    await assert.rejects(imageDigest(image, signal), (error) => {
      assert.ok(error instanceof AgentError);
      assert.match(error.message, /the file was written to during the scan$/);
      return error.id === 'SOURCE_UNREADABLE' && error.remedy.includes('loop,ro');
    });
  });

  it('imageDigest stops when the command is aborted', async () => {
    const stop = new AbortController();
    const digest = imageDigest(imageOption(file, root), stop.signal);
    stop.abort(new Error('Ctrl-C'));
    await assert.rejects(digest, { message: 'Ctrl-C' });
  });

  it('imageOption rejects a path that is missing, unsuitable or unreadable before the scan', async () => {
    const refused = (what: string, path: string, tree = root) =>
      assert.throws(
        () => imageOption(path, tree),
        (error) => error instanceof UsageError && error.message.includes(what),
      );
    refused('does not exist', join(folder, 'nothing'));
    refused('is not a file or a disk', root);
    refused('is not a file or a disk', '/dev/null');
    refused('needs --root', file, '/');
    chmodSync(folder, 0o755);
    chmodSync(file, 0);
    await asNobody(async () => refused('cannot be read: EACCES', file));
  });

  describe('a mounted image', () => {
    /** A /sys in which the root's block device reads from `backing`. */
    const sysOf = (backing: string, { isPartition = false } = {}): string => {
      const sys = join(folder, 'sys');
      const disk = join(sys, 'devices/virtual/block/loop3');
      const own = isPartition ? join(disk, 'loop3p1') : disk;
      mkdirSync(join(disk, 'loop'), { recursive: true });
      writeFileSync(join(disk, 'loop/backing_file'), `${backing}\n`);
      writeFileSync(join(disk, 'dev'), '7:3\n');
      if (isPartition) {
        mkdirSync(own);
        writeFileSync(join(own, 'dev'), '259:0\n');
      }
      mkdirSync(join(sys, 'dev/block'), { recursive: true });
      symlinkSync(own, join(sys, 'dev/block', deviceOf(root)));
      return sys;
    };
    const deviceOf = (path: string) => execFileSync('stat', ['--format', '%Hd:%Ld', path], { encoding: 'utf8' }).trim();

    for (const isPartition of [false, true]) {
      it(`imageOption recognizes a mounted image by the loop device${isPartition ? ' of a partition' : ''}`, () => {
        assert.equal(imageOption(file, root, sysOf(file, { isPartition })).isMounted, true);
      });
    }

    it('imageOption rejects an image if the tree is mounted from another file', () => {
      const other = join(folder, 'other.img');
      writeFileSync(other, '');
      assert.throws(
        () => imageOption(file, root, sysOf(other)),
        (error) => error instanceof UsageError && error.message.includes(`is mounted from ${other}, not from ${file}`),
      );
    });

    it('imageOption treats an image as not mounted if its backing file was deleted', () => {
      assert.equal(imageOption(file, root, sysOf(`${file} (deleted)`)).isMounted, false);
    });

    it('the evidence contains the digest of a real image from which the tree is mounted', async function () {
      this.timeout(180_000);
      require(this, missing());
      const image = join(folder, 'disk.img');
      const point = join(folder, 'mounted');
      mkdirSync(point);
      execFileSync('mkfs.ext4', ['-q', '-d', root, image, '8M']);
      execFileSync('mount', ['-o', 'loop,ro', image, point]);
      try {
        const evidence = await gatherEvidence(
          { root: point, withDigest: false, image: imageOption(image, point) },
          signal,
        );
        assert.deepEqual([evidence.image?.isMounted, evidence.image?.sha256], [true, sha256(readFileSync(image))]);
        assert.ok(evidenceRows(evidence).some(([, text]) => text.endsWith('; the tree is mounted from it')));
        assert.throws(() => imageOption(file, point), UsageError);
      } finally {
        spawnSync('umount', [point]);
      }
    });
  });
});

/** @returns why this machine cannot mount an image; undefined if it can */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'this is not root, which alone may mount';
  const tool = ['mkfs.ext4', 'mount'].find((name) => spawnSync(name, ['-V']).error !== undefined);
  if (tool !== undefined) return `there is no ${tool}`;
  return spawnSync('losetup', ['--find']).status === 0 ? undefined : 'there is no loop device';
}
