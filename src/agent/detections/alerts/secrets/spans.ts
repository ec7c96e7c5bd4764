/** A replaced range: `start` is included, `end` excluded. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export const REDACTED = '[redacted]';

/** Replaces all spans, which may overlap. Linear in the length of the text, except for sorting the spans. */
export function replaced(text: string, spans: readonly Span[]): string {
  if (spans.length === 0) return text;
  const pieces: string[] = [];
  let done = 0;
  for (const { start, end } of spans.filter((span) => span.end > span.start).sort((a, b) => a.start - b.start)) {
    if (start >= done) pieces.push(text.slice(done, start), REDACTED);
    // The second of two overlapping spans is part of the same secret.
    done = Math.max(done, end);
  }
  pieces.push(text.slice(done));
  return pieces.join('');
}
