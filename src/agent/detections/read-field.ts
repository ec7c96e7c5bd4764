import type { Subject, View } from './subject.ts';
import { downloadTargets, runTarget } from './targets.ts';

/** A field of a subject in one of its views. */
export function readField({ source, fields }: Subject, view: View | undefined, field: string): string | undefined {
  // Equal in all views, so it is read even before there is a view.
  if (field === 'type' && source === 'process_creation') return 'EXECVE';
  const own = Object.hasOwn(fields, field) ? fields[field] : undefined; // `constructor` is not a field of any event
  if (view === undefined || source !== 'process_creation') return own;
  switch (field) {
    case 'Image':
    case 'CommandLine':
      return view[field];
    case 'CurrentDirectory':
      return view.CurrentDirectory ?? own;
    case 'DownloadTarget':
      return downloadTargets(withDirectory(view, fields.CurrentDirectory))[view.download ?? 0];
    case 'RunTarget':
      return runTarget(withDirectory(view, fields.CurrentDirectory));
    default:
      return /^a\d/.test(field) ? argumentOf(view, Number(field.slice(1))) : own;
  }
}

/** If the bounds of arguments are unknown, as in a view or a recorded event, each word counts as one. */
const argumentOf = ({ argv, CommandLine }: View, at: number): string | undefined =>
  (argv ?? CommandLine.split(' '))[at];

/** Ids differ between starts and would defeat the cache; `Event` is the agent's name of the event. */
const WITHOUT_WORDS = ['ProcessId', 'ParentProcessId', 'Event'];

/** The fields that are searched for keywords: all fields of an event, regardless of the rules. */
export const wordFields = ({ fields }: Subject): readonly string[] =>
  Object.keys(fields).filter((field) => !WITHOUT_WORDS.includes(field));

/** The values of a subject, in one of its views, that are searched for keywords. */
export const wordsOf = (subject: Subject, view: View | undefined): readonly string[] =>
  wordFields(subject).map((field) => readField(subject, view, field) ?? '');

const withDirectory = (view: View, directory: string | undefined): View =>
  view.CurrentDirectory === undefined && directory !== undefined ? { ...view, CurrentDirectory: directory } : view;

/** Whether a field can differ between the views of a start. */
export const isOfView = (field: string): boolean =>
  ['Image', 'CommandLine', 'CurrentDirectory', 'DownloadTarget', 'RunTarget'].includes(field) || /^a\d/.test(field);
