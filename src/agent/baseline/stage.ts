import type { Rule } from './rule.ts';

/*
 * The stages of a scan, by what they read. A scan that hangs is repeated without the stage in which it hung, so that a
 * user's file system that does not answer prevents only the rules that read it.
 */

/** The stage before the first rule. If it hangs, the scan fails. */
export const START = 'start';
/** The file of custom checks. */
export const CUSTOM = 'custom';

/** Rules that read homes share one stage, and so do those that walk the file systems. */
export function stageOf({ id, primitive, params }: Rule): string {
  if (primitive === 'fswalk') return 'walk';
  const { check } = params as { check?: unknown };
  return primitive === 'accounts' && typeof check === 'string' && /^(?:home|dotFiles)/.test(check) ? 'homes' : id;
}

/** The child's message before each step: the stage, and the path that it reads. */
export const formatStage = (stage: string, where: string): string => `${stage} ${where}`;

/** Parses such a message. */
export function parseStage(text: string): { readonly stage: string; readonly where: string } {
  const blank = text.indexOf(' ');
  return blank === -1 ? { stage: text, where: '' } : { stage: text.slice(0, blank), where: text.slice(blank + 1) };
}
