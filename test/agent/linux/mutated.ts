import fc from 'fast-check';

/** A golden text in which up to six places are other text, are missing, or have something put into them. */
export const mutated = (golden: string): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(fc.nat(golden.length), fc.nat(3), fc.string({ unit: 'binary', maxLength: 3 })), { maxLength: 6 })
    .map((edits) => edits.reduce((text, [at, gone, put]) => text.slice(0, at) + put + text.slice(at + gone), golden));
