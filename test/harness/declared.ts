/** Declarations of a test's collector that are irrelevant to the test. */
export const DECLARED = { type: 'Security', priority: 'Low', version: '1.0', summary: '', source: '' } as const;
