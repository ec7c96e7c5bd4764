/** Size of one element. The largest are sets, whose contents nft leaves out on request. */
const MAX_ELEMENT_BYTES = 1024 * 1024;
const HEAD = /^\s*\{\s*"nftables"\s*:\s*\[$/;
const TAIL = /^\s*\}\s*$/;
/** Characters before the first element, and after the last one. */
const LONGEST_FRAME = 1_024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** The output is larger than the reader accepts. */
export const tooLarge = (subject: string): Error =>
  Object.assign(new Error(`${subject} is too large`), { code: 'ENOBUFS' });

/**
 * Splits `{"nftables": [ELEMENT, …]}` into its elements while it arrives, so that the whole text is never in memory.
 *
 * @throws SyntaxError when the frame isn't nft's, ENOBUFS when an element is too large
 */
export class NftElements {
  readonly #accept: (element: string) => void;
  /** Bytes of the head, of the current element, or of the tail. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #where: 'head' | 'elements' | 'tail' = 'head';
  #isFirst = true;
  /** Brackets and braces that are open within the element. */
  #depth = 0;
  #isInText = false;
  #isEscaped = false;

  /** @param accept receives the JSON of each element */
  constructor(accept: (element: string) => void) {
    this.#accept = accept;
  }

  add(chunk: Buffer): void {
    let begin = 0;
    if (this.#where === 'head') {
      const end = chunk.indexOf(OPEN_BRACKET) + 1;
      this.#keep(chunk.subarray(0, end > 0 ? end : chunk.length), LONGEST_FRAME);
      if (end === 0) return;
      if (!HEAD.test(this.#taken())) throw new SyntaxError('nft wrote JSON without a member "nftables"');
      this.#where = 'elements';
      begin = end;
    }
    if (this.#where === 'elements') begin = this.#split(chunk, begin);
    this.#keep(chunk.subarray(begin), this.#where === 'tail' ? LONGEST_FRAME : MAX_ELEMENT_BYTES);
  }

  end(): void {
    if (this.#where !== 'tail' || !TAIL.test(this.#taken())) throw new SyntaxError('The output of nft is incomplete.');
  }

  /** @returns where the element that isn't complete begins, or the tail */
  #split(chunk: Buffer, from: number): number {
    let begin = from;
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (this.#isEscaped) this.#isEscaped = false;
      else if (this.#isInText) {
        if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.#isInText = false;
      } else if (byte === QUOTE) this.#isInText = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth += 1;
      else if (this.#depth > 0) {
        if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#depth -= 1;
      } else if (byte === COMMA || byte === CLOSE_BRACKET) {
        this.#keep(chunk.subarray(begin, at), MAX_ELEMENT_BYTES);
        this.#finish(byte === CLOSE_BRACKET);
        begin = at + 1;
        if (this.#where === 'tail') return begin;
      }
    }
    return begin;
  }

  #finish(isLast: boolean): void {
    const element = this.#taken();
    if (!(isLast && this.#isFirst && element.trim() === '')) this.#accept(element);
    this.#isFirst = false;
    if (isLast) this.#where = 'tail';
  }

  #keep(part: Buffer, limit: number): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes > limit)
      throw limit === LONGEST_FRAME ? new SyntaxError('nft wrote other text') : tooLarge('A part');
    this.#parts.push(part);
  }

  #taken(): string {
    const text = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    this.#bytes = 0;
    return text;
  }
}
