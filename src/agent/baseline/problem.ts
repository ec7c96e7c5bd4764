import type * as v from 'valibot';

/** The path and message of a value that a schema rejected: `rules[3].params.modeMax: is not a mode …`. */
export function firstProblem(issues: readonly v.BaseIssue<unknown>[]): string {
  const [issue] = issues;
  if (issue === undefined) return 'is invalid';
  let path = '';
  for (const { key } of (issue.path ?? []) as readonly { key: unknown }[])
    path += typeof key === 'number' ? `[${key}]` : `${path === '' ? '' : '.'}${String(key).slice(0, 60)}`;
  return `${path === '' ? 'the file' : path}: ${issue.message.slice(0, 200)}`;
}
