/**
 * How many inputs a fuzz test tries: all of them with VAKT_FUZZ=full (a long run, by hand), else a tenth, as in CI.
 *
 * @param full what the long run takes
 */
export const fuzzRuns = (full: number): number => (process.env.VAKT_FUZZ === 'full' ? full : Math.ceil(full / 10));
