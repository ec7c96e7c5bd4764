import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** For packages that are under the MIT licence but do not contain its text, such as those of the SDK. */
const MIT = readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8').replace(/^[\s\S]*?(?=Permission is )/, '');

/** The members of package.json that are used here. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  /** The form of old packages. */
  readonly licenses?: readonly { readonly type: string }[];
  readonly author?: string | { readonly name: string };
}

/**
 * The licences of packages with their full wording, which most licences require to be shipped.
 *
 * @param folders of the packages; the order is kept
 * @throws {Error} when a package names no licence
 */
export function licencesOf(folders: readonly string[]): string {
  return folders.map(licenceOf).join(`\n${'-'.repeat(100)}\n\n`);
}

export const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

function licenceOf(folder: string): string {
  const { name, version, licenses, license = licenses?.[0]?.type, author } = manifestOf(folder);
  if (license === undefined) throw new Error(`${folder} names no licence`);
  const by = typeof author === 'string' ? author : author?.name;
  const file = readdirSync(folder).find((each) => /^(?:licen[cs]e|copying)\b/i.test(each));
  if (file === undefined && license !== 'MIT') throw new Error(`${folder} has no file with the text of its licence`);
  const text = file === undefined ? `Copyright (c) ${by}\n\n${MIT}` : readFileSync(join(folder, file), 'utf8');
  return `${name} ${version}, ${license}${by === undefined ? '' : `, by ${by}`}\n\n${text.replaceAll('\r\n', '\n').trim()}\n`;
}
