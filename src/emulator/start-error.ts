import { errnoOf, messageOf } from '../core/base/errors.ts';

/** The emulator can't start for a reason that its user can correct; the message explains how. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** The options that can prevent a start. */
export interface StartOptions {
  /** Ports, keyed by their options. */
  readonly ports: Readonly<Record<string, number | undefined>>;
  readonly directory: string;
  readonly record: string | undefined;
}

/** Names the option that caused a system error. @returns the error itself if none did */
export function startErrorOf(error: unknown, { ports, directory, record }: StartOptions): unknown {
  const { syscall, port, path, address } = (error ?? {}) as Partial<
    Record<'syscall' | 'port' | 'path' | 'address', unknown>
  >;
  if (errnoOf(error) === undefined) return error;
  if (syscall === 'listen' && typeof port === 'number' && port > 0) {
    const given = Object.keys(ports).filter((name) => ports[name] === port);
    if (given.length === 0) return error;
    return new StartError(
      `${given.join(', ')}: port ${port} can't be used: ${messageOf(error)}; give another one, or 0 for any free one`,
    );
  }
  const file = [path, address].find((name) => typeof name === 'string');
  if (file === undefined) return error;
  if (file === record)
    return new StartError(`--record can't be used: ${messageOf(error)}; give a file that can be written`);
  return isAtOrBelow(file, directory)
    ? new StartError(`--directory can't be used: ${messageOf(error)}; give a folder that you may write to`)
    : error;
}

/** True for a missing folder above the directory, too. */
const isAtOrBelow = (file: string, directory: string): boolean =>
  file === directory || file.startsWith(`${directory}/`) || directory.startsWith(`${file}/`);
