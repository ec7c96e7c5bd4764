import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { finished } from 'node:stream/promises';
import { readOptional } from '../../../core/base/bounded-file.ts';
import { systemClock } from '../../../core/base/clock.ts';
import { AgentError, errnoOf } from '../../../core/base/errors.ts';
import { VERSION } from '../../../core/base/version.ts';
import { inRoot } from '../../host/in-root.ts';
import { OS_RELEASE_FILES, parseOsRelease } from '../../host/os-release.ts';
import { systemFacts } from '../../linux/machine/system-facts.ts';
import { callersName } from '../result-file.ts';
import { type Image, type ImageDigest, imageDigest } from './image.ts';

/* What makes a report of a scan evidence: of which product, of which files, by whom, by which program. */

export interface Evidence {
  readonly madeAt: string;
  /** Who called the command, and on which machine. */
  readonly madeBy: string;
  readonly madeOn: string;
  /** Version of the evaluating program. */
  readonly agentVersion: string;
  /** The vendor's name and model of the machine, from its firmware; absent for a tree, which may be for any machine. */
  readonly product?: string;
  /** From os-release: PRETTY_NAME, with the build or the image if there is one. */
  readonly system?: string;
  /** SHA-256 of all files of the tree; see `treeDigest`. Absent if `--digest` was not given. */
  readonly treeSha256?: string;
  /** Absent if `--image` was not given. */
  readonly image?: ImageDigest;
}

const MAX_OS_RELEASE_BYTES = 64 * 1024;

export async function gatherEvidence(
  { root, withDigest, image }: { root: string; withDigest: boolean; image?: Image | undefined },
  signal: AbortSignal,
): Promise<Evidence> {
  const system = systemOf(root);
  const product = root === '/' ? productOf() : undefined;
  return {
    madeAt: systemClock.now().toISOString(),
    madeBy: callersName(),
    madeOn: hostname(),
    agentVersion: VERSION,
    ...(product === undefined ? {} : { product }),
    ...(system === undefined ? {} : { system }),
    ...(withDigest ? { treeSha256: await treeDigest(root, signal) } : {}),
    ...(image === undefined ? {} : { image: await imageDigest(image, signal) }),
  };
}

/** One line each, for people. */
export const evidenceRows = (evidence: Evidence): readonly (readonly [label: string, text: string])[] => [
  ...(evidence.product === undefined ? [] : [['Product', evidence.product] as const]),
  ['System', evidence.system ?? 'unknown: it has no os-release'],
  ...(evidence.treeSha256 === undefined ? [] : [['SHA-256 of the tree', evidence.treeSha256] as const]),
  ...(evidence.image === undefined ? [] : imageRows(evidence.image)),
  ['Judged by', `Vakt ${evidence.agentVersion}`],
  ['Made', `${evidence.madeAt} by ${evidence.madeBy} on ${evidence.madeOn}`],
];

const imageRows = ({ file, sizeBytes, sha256, isMounted }: ImageDigest): readonly (readonly [string, string])[] => {
  const origin = isMounted ? 'the tree is mounted from it' : 'that the tree is from it was not checked';
  return [
    ['Image', `${file}, ${sizeBytes} bytes; ${origin}`],
    ['SHA-256 of the image', sha256],
  ];
};

function systemOf(root: string): string | undefined {
  const text = OS_RELEASE_FILES.map((path) => readOptional(inRoot(root, path), MAX_OS_RELEASE_BYTES)).find(Boolean);
  const { PRETTY_NAME, NAME, VERSION_ID, BUILD_ID, IMAGE_ID, IMAGE_VERSION } = parseOsRelease(text ?? '');
  const name = PRETTY_NAME ?? [NAME, VERSION_ID].filter(Boolean).join(' ');
  if (name === '') return undefined;
  const image = [IMAGE_ID, IMAGE_VERSION].filter(Boolean).join(' ');
  const more = [...(BUILD_ID === undefined ? [] : [`build ${BUILD_ID}`]), ...(image === '' ? [] : [`image ${image}`])];
  return [name, ...more].join(', ').slice(0, 500);
}

function productOf(): string | undefined {
  const { machineVendor, machineModel } = systemFacts({ hostRoot: '/' });
  const product = [machineVendor, machineModel].filter((part) => part !== undefined).join(' ');
  return product === '' ? undefined : product;
}

/** Files are read in parts of this size, in bytes. */
const CHUNK = 1024 * 1024;

/**
 * SHA-256 of a tree: of one line for each file, folder and link, folder by folder, the names in each sorted by their bytes. A
 * line has the path as JSON, the type, the mode in octal, the user and group ids, and for a file the SHA-256 of its content,
 * for a link its target as JSON, for a device its number; joined by spaces. A name that is not UTF-8 is in hexadecimal, after
 * `0x`. Times are left out, so that two equal builds have the same digest. Of another file system that is mounted in the tree,
 * only the place is in it.
 *
 * @throws AgentError SOURCE_UNREADABLE if a file cannot be read: half a digest would be a wrong one
 */
export async function treeDigest(root: string, signal: AbortSignal): Promise<string> {
  const whole = createHash('sha256');
  const { dev } = lstatSync(root);
  // Names are bytes: one that is not UTF-8 would name another file as text.
  const visit = async (path: Buffer): Promise<void> => {
    signal.throwIfAborted();
    const full = Buffer.concat([Buffer.from(`${root}/`), path]);
    const stats = lstatSync(full);
    const type = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : stats.isSymbolicLink() ? 'link' : 'other';
    const isOther = type === 'folder' && stats.dev !== dev;
    const content =
      type === 'file'
        ? await fileDigest(full, signal)
        : type === 'link'
          ? nameOf(readlinkSync(full, 'buffer'))
          : type === 'other'
            ? String(stats.rdev)
            : '-';
    const { mode, uid, gid } = stats;
    whole.update(
      `${nameOf(path)} ${type} ${(mode & 0o7777).toString(8)} ${uid} ${gid} ${isOther ? 'mount' : content}\n`,
    );
    if (type !== 'folder' || isOther) return;
    for (const name of namesIn(full)) await visit(path.length === 0 ? name : Buffer.concat([path, SLASH, name]));
  };
  try {
    await visit(Buffer.alloc(0));
  } catch (error) {
    signal.throwIfAborted();
    const { path = root } = error as { path?: string };
    const problem = `the digest of ${root} cannot be computed: ${path}: ${errnoOf(error) ?? 'unknown'}`;
    throw new AgentError('SOURCE_UNREADABLE', problem, 'Run the command as root, or without --digest.', {
      cause: error,
    });
  }
  return whole.digest('hex');
}

const SLASH = Buffer.from('/');

/** Other names stay apart only as bytes. */
const nameOf = (name: Buffer): string => (isUtf8(name) ? JSON.stringify(name.toString()) : `0x${name.toString('hex')}`);

const namesIn = (folder: Buffer): readonly Buffer[] => readdirSync(folder, 'buffer').sort(Buffer.compare);

async function fileDigest(path: Buffer, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const stream = createReadStream(path, { highWaterMark: CHUNK, signal });
  stream.on('data', (chunk) => hash.update(chunk));
  await finished(stream);
  return hash.digest('hex');
}
