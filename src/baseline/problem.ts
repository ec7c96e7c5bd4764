import type * as v from 'valibot';

/** What is wrong with a value that a schema refused, and where in it: `rules[3].params.modeMax: is no mode …`. */
export function firstProblem(issues: readonly v.BaseIssue<unknown>[]): string {
  const [issue] = issues;
  if (issue === undefined) return 'is not as it should be';
  let path = '';
  for (const { key } of (issue.path ?? []) as readonly { key: unknown }[])
    path += typeof key === 'number' ? `[${key}]` : `${path === '' ? '' : '.'}${String(key).slice(0, 60)}`;
  return `${path === '' ? 'the file' : path}: ${issue.message.slice(0, 200)}`;
}
