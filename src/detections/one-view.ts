import type { View } from './subject.ts';

/** The event as it is. */
export const viewsOf = (start: {
  readonly executable: string;
  readonly commandLine: string;
  readonly argv?: readonly string[];
  readonly currentDirectory?: string;
}): readonly View[] => [
  {
    Image: start.executable,
    CommandLine: start.commandLine,
    ...(start.currentDirectory === undefined ? {} : { CurrentDirectory: start.currentDirectory }),
  },
];
