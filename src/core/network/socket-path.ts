/** Length of sun_path without its terminating zero, see unix(7). Node truncates a longer path, which names another file. */
const MAX_PATH_BYTES = 107;

/** @returns what is wrong with the path of a Unix socket, or `undefined` */
export function socketPathProblem(path: string): string | undefined {
  const length = Buffer.byteLength(path);
  return length > MAX_PATH_BYTES
    ? `has ${length} bytes, more than the ${MAX_PATH_BYTES} that a socket can have`
    : undefined;
}
