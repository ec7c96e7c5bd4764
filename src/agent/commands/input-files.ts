import { createReadStream, type Stats, statSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { errnoOf, messageOf } from '../../core/base/errors.ts';
import { UsageError } from '../../core/command-line/command.ts';

/**
 * The lines of a file, or of standard input for `-`, with their numbers from 1. As bytes: text would hide what is not UTF-8.
 * readline is not used, since it also splits at U+2028.
 *
 * @throws {UsageError} if the file cannot be read; the reason of the signal, even while standard input is idle
 */
export async function* linesOf(
  file: string,
  signal: AbortSignal,
): AsyncGenerator<readonly [bytes: Buffer, line: number]> {
  let line = 0;
  let rest: Buffer[] = [];
  const input = addAbortSignal(signal, file === '-' ? process.stdin : createReadStream(file));
  try {
    for await (const chunk of input) {
      let bytes = chunk as Buffer;
      for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a)) {
        yield [Buffer.concat([...rest, bytes.subarray(0, end)]), ++line];
        rest = [];
        bytes = bytes.subarray(end + 1);
      }
      rest.push(bytes);
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw new UsageError(`${file} cannot be read: ${errnoOf(cause) ?? messageOf(cause)}`);
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield [last, ++line];
}

/** Status of a path that the user named; `undefined` if it does not exist. @throws {UsageError} if it cannot be read */
export function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  }
}
