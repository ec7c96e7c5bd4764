/**
 * How many inputs a fuzz test tries: all of them with VAKT_FUZZ=full (a long run, by hand), else a tenth, as in CI.
 *
 * @param full what the long run takes
 */
export const fuzzRuns = (full: number): number => (process.env.VAKT_FUZZ === 'full' ? full : Math.ceil(full / 10));

/**
 * How many lives a test tries against its model: a tenth with VAKT_MODELS=short, as by the oldest and the newest Node.
 *
 * @param full what the Node of the tests takes
 */
export const modelRuns = (full: number): number => (process.env.VAKT_MODELS === 'short' ? Math.ceil(full / 10) : full);
