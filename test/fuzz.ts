const { VAKT_FUZZ, VAKT_RELEASE } = process.env;
/** The smallest number of generated inputs, of a test that asks for as many. */
const FEWEST = 10;

/**
 * The number of inputs that a fuzz test tries: all of them with VAKT_FUZZ=full (a long, manual run), a tenth in
 * `npm run test:release`, otherwise a hundredth.
 *
 * @param full the number for the long run
 */
export const fuzzRuns = (full: number): number => {
  if (VAKT_FUZZ === 'full') return full;
  return Math.max(Math.min(full, FEWEST), Math.ceil(full / (VAKT_RELEASE === '1' ? 10 : 100)));
};

/**
 * The number of generated lives that a test compares with its model: all of them in `npm run test:release`, otherwise a tenth.
 *
 * @param full the number for a release
 */
export const modelRuns = (full: number): number => (VAKT_RELEASE === '1' ? full : Math.ceil(full / 10));

/** Marks the title of a test that only `npm run test:release` runs, of a loop whose other cases every run has. */
export const release = (isForRelease: boolean): string => (isForRelease ? ' @release' : '');

/** All cases in `npm run test:release`, otherwise every seventh. */
export const sampled = <T>(cases: readonly T[]): readonly T[] =>
  VAKT_RELEASE === '1' ? cases : cases.filter((_, index) => index % 7 === 0);
