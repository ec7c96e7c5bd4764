import type { Rule } from './rule.ts';

/*
 * Parts of a scan by what they look at. A scan that hangs is made again without the part that it hung in, so that a
 * user whose file system doesn't answer costs the rules that look there, and not all.
 */

/** Before the first rule. Without it there is no scan. */
export const START = 'start';
/** The file of custom checks. */
export const CUSTOM = 'custom';

/** Rules that look at homes share one look, and so do those that walk the file systems. */
export function stageOf({ id, primitive, params }: Rule): string {
  if (primitive === 'fswalk') return 'walk';
  const { check } = params as { check?: unknown };
  return primitive === 'accounts' && typeof check === 'string' && /^(?:home|dotFiles)/.test(check) ? 'homes' : id;
}

/** What the child says before each step: the stage, and where it looks. */
export const said = (stage: string, where: string): string => `${stage} ${where}`;

/** What was said, taken apart again. */
export function heard(text: string): { readonly stage: string; readonly where: string } {
  const blank = text.indexOf(' ');
  return blank === -1 ? { stage: text, where: '' } : { stage: text.slice(0, blank), where: text.slice(blank + 1) };
}
