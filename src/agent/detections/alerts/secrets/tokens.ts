import type { Span } from './spans.ts';

/* Secrets that are recognised by their format. Base64 without a name is not among them: in an alert, it is evidence. */

/** Prefixes of tokens, with the minimum length of the token. Sources: the issuers' documentation of their formats. */
const PREFIXES: readonly (readonly [string, number])[] = [
  ['AKIA', 20],
  ['ASIA', 20],
  ['AIza', 39],
  ['ya29.', 30],
  ['eyJ', 40],
  ['ghp_', 36],
  ['gho_', 36],
  ['ghu_', 36],
  ['ghs_', 36],
  ['ghr_', 36],
  ['github_pat_', 40],
  ['glpat-', 26],
  ['xoxb-', 24],
  ['xoxp-', 24],
  ['xoxa-', 24],
  ['xoxr-', 24],
  ['xoxs-', 24],
  ['xapp-', 24],
  ['sk_live_', 24],
  ['rk_live_', 24],
  ['sk-', 32],
  ['SG.', 40],
  ['npm_', 36],
  ['dckr_pat_', 28],
  ['hvs.', 24],
  ['pypi-', 40],
  ['dop_v1_', 40],
  ['tskey-', 24],
  ['glsa_', 32],
];

const BY_FIRST_LETTER = new Map<string, (readonly [string, number])[]>();
for (const entry of PREFIXES) {
  const first = entry[0].charAt(0);
  BY_FIRST_LETTER.set(first, [...(BY_FIRST_LETTER.get(first) ?? []), entry]);
}

const RUN = /[A-Za-z0-9_.+/~-]+/g;

export function knownTokens(text: string): Span[] {
  const spans: Span[] = [];
  for (const match of text.matchAll(RUN)) {
    const [run] = match;
    const candidates = BY_FIRST_LETTER.get(run.charAt(0));
    const isToken = candidates?.some(([prefix, length]) => run.length >= length && run.startsWith(prefix)) === true;
    // A signed JSON web token has three parts; other base64 that starts with `{"` is not a secret.
    if (!isToken || (run.startsWith('eyJ') && !run.includes('.'))) continue;
    spans.push({ start: match.index, end: match.index + run.length });
  }
  return spans;
}

const BEGIN = '-----BEGIN ';
const PRIVATE = 'PRIVATE KEY-----';
const END = '-----END ';

/** The body of each private key in PEM; up to the end of the text if it was truncated. */
export function privateKeys(text: string): Span[] {
  const spans: Span[] = [];
  let begin = text.indexOf(BEGIN);
  while (begin !== -1) {
    const label = text.slice(begin, begin + 64).indexOf(PRIVATE);
    if (label === -1) {
      begin = text.indexOf(BEGIN, begin + BEGIN.length);
      continue;
    }
    const start = begin + label + PRIVATE.length;
    const end = text.indexOf(END, start);
    spans.push({ start, end: end === -1 ? text.length : end });
    begin = end === -1 ? -1 : text.indexOf(BEGIN, end);
  }
  return spans;
}
