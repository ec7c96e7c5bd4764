/**
 * Whether a name matches a pattern: `*` is any text, `?` any character. Takes at most as many steps as the product of
 * both lengths: a mismatch backtracks to the last `*` only, since an earlier one could not match more.
 */
export function matchesGlob(pattern: string, name: string): boolean {
  let at = 0;
  let star = -1;
  let behindStar = 0;
  for (let read = 0; read < name.length; ) {
    if (at < pattern.length && pattern[at] !== '*' && (pattern[at] === '?' || pattern[at] === name[read])) {
      at += 1;
      read += 1;
    } else if (pattern[at] === '*') {
      star = at;
      behindStar = read;
      at += 1;
    } else if (star !== -1) {
      at = star + 1;
      behindStar += 1;
      read = behindStar;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
