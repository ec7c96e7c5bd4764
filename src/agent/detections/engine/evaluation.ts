import { copied } from '../../../core/base/values.ts';
import type { DetectionRule } from '../sigma/rule.ts';
import type { View } from '../subject.ts';

export interface Match {
  readonly rule: DetectionRule;
  /** The views that matched: the first one, and all others for rules that a correlation refers to; none of events without. */
  readonly views: readonly View[];
  readonly cut: boolean;
  /** Names of the rule's selections that made the first view match. */
  readonly selections: readonly string[];
}

/** Which rules match an event. */
export interface Evaluation {
  readonly matches: readonly Match[];
  /** Whether all rules that are on were judged; what was passed over for now may match when it comes again. */
  readonly isWhole: boolean;
}

/** What a match, a view and an argument take besides their texts, roughly: whoever starts programs chooses how many match. */
const CHARACTERS_OF_MATCH = 128;
const CHARACTERS_OF_VIEW = 128;
const CHARACTERS_OF_ARGUMENT = 24;

/** The same, with texts of its own. */
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

/** What a judgement takes, in characters. */
export function sizeOfEvaluation({ matches }: Evaluation): number {
  const views = new Set(matches.flatMap((match) => match.views));
  let size = matches.length * CHARACTERS_OF_MATCH;
  for (const { Image, CommandLine, CurrentDirectory = '', argv = [] } of views) {
    size += CHARACTERS_OF_VIEW + Image.length + CommandLine.length + CurrentDirectory.length;
    for (const { length } of argv) size += CHARACTERS_OF_ARGUMENT + length;
  }
  return size;
}
