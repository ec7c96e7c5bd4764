/**
 * The number of inputs that a fuzz test tries: all of them with VAKT_FUZZ=full (a long, manual run), otherwise a tenth,
 * as in CI.
 *
 * @param full the number for the long run
 */
export const fuzzRuns = (full: number): number => (process.env.VAKT_FUZZ === 'full' ? full : Math.ceil(full / 10));

/**
 * The number of generated lives that a test compares with its model: all of them in `npm run test:release`, otherwise a tenth.
 *
 * @param full the number for a release
 */
export const modelRuns = (full: number): number => (process.env.VAKT_RELEASE === '1' ? full : Math.ceil(full / 10));
