import * as v from 'valibot';
import { hostNameProblem } from './hub-names.ts';

/* Schemas for settings of the local file. Their descriptions become the documentation. */

/** A string of 1 to 4096 characters without NUL, which is invalid in every path, name and address. */
export const text = (description: string) =>
  v.pipe(
    v.string('must be a string'),
    v.minLength(1, 'must not be empty'),
    v.maxLength(4096),
    v.excludes('\0', 'must not contain a NUL character'),
    v.description(description),
  );

/** `host` or `host:port`. A check, since its message depends on the input. */
export const hostName = (description: string) =>
  v.pipe(
    text(description),
    v.check(
      (name) => hostNameProblem(name) === undefined,
      ({ input }) => hostNameProblem(input) ?? '',
    ),
  );

/** A path; a relative one starts at the folder of the local file. */
export const path = (description: string) => v.pipe(text(description), v.metadata({ path: true }));

/** The path of a file that only its owner may read. If systemd has made a copy, the copy is read. */
export const secretFile = (description: string) => v.pipe(text(description), v.metadata({ path: true, secret: true }));

/** The path of a world-readable file that belongs to a secret: a certificate. systemd's copy of it is read, if there is one. */
export const credentialFile = (description: string) =>
  v.pipe(text(description), v.metadata({ path: true, credential: true }));

export const oneOf = <const T extends readonly string[]>(options: T, description: string) =>
  v.pipe(v.picklist(options, `must be one of ${options.map((o) => `"${o}"`).join(', ')}`), v.description(description));
