/** What a test's collector declares that does not matter to the test. */
export const DECLARED = { type: 'Security', priority: 'Low', version: '1.0', summary: '', source: '' } as const;
