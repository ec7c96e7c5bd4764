/** @returns the decoded values of the `{name}` parts of `pattern`, or `undefined` if `path` does not match */
export function pathParameters(pattern: string, path: string): string[] | undefined {
  const wanted = pattern.split('/');
  const got = path.split('/');
  if (wanted.length !== got.length) return undefined;
  if (wanted.some((part, index) => !part.startsWith('{') && part !== got[index])) return undefined;
  try {
    return got.filter((_, index) => wanted[index]?.startsWith('{')).map(decodeURIComponent);
  } catch {
    return undefined;
  }
}
