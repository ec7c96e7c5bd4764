import { copied } from '../../../core/base/values.ts';
import type { DetectionRule } from '../sigma/rule.ts';
import type { View } from '../subject.ts';

export interface Match {
  readonly rule: DetectionRule;
  /** The matching views: only the first, or all for rules that a correlation refers to; empty for events without views. */
  readonly views: readonly View[];
  readonly cut: boolean;
  /** Names of the rule's selections that made the first view match. */
  readonly selections: readonly string[];
}

/** Which rules match an event. */
export interface Evaluation {
  readonly matches: readonly Match[];
  /** Whether all active rules were evaluated. If not, a skipped rule may match when the event occurs again. */
  readonly isWhole: boolean;
}

/** Approximate overhead of a match, a view and an argument, besides their strings. Users choose how many of their starts match. */
const CHARACTERS_OF_MATCH = 128;
const CHARACTERS_OF_VIEW = 128;
const CHARACTERS_OF_ARGUMENT = 24;

/** A deep copy with its own strings. */
export function copyOfEvaluation({ matches, isWhole }: Evaluation): Evaluation {
  const copies = new Map<View, View>();
  const copyOf = (view: View): View => {
    const copy = copies.get(view) ?? copyOfView(view);
    copies.set(view, copy);
    return copy;
  };
  return {
    matches: matches.map(({ rule, views, cut, selections }) => ({ rule, views: views.map(copyOf), cut, selections })),
    isWhole,
  };
}

const copyOfView = ({ Image, CommandLine, CurrentDirectory, argv, download }: View): View => ({
  Image: copied(Image),
  CommandLine: copied(CommandLine),
  CurrentDirectory: CurrentDirectory === undefined ? undefined : copied(CurrentDirectory),
  argv: argv?.map(copied),
  download,
});

/** Size of an evaluation in characters. */
export function sizeOfEvaluation({ matches }: Evaluation): number {
  const views = new Set(matches.flatMap((match) => match.views));
  let size = matches.length * CHARACTERS_OF_MATCH;
  for (const { Image, CommandLine, CurrentDirectory = '', argv = [] } of views) {
    size += CHARACTERS_OF_VIEW + Image.length + CommandLine.length + CurrentDirectory.length;
    for (const { length } of argv) size += CHARACTERS_OF_ARGUMENT + length;
  }
  return size;
}
