import assert from 'node:assert/strict';
import { type ProcessStart, type View, viewsOf } from '../../../../src/agent/detections/views/views.ts';

/** A shell's script, with exact arguments, as the kernel reports them. */
export const script = (text: string, shell = 'bash'): ProcessStart => ({
  executable: `/usr/bin/${shell}`,
  commandLine: `${shell} -c ${text}`,
  argv: [shell, '-c', text],
});

/** A process start whose arguments contain no spaces. */
export const start = (commandLine: string, executable?: string): ProcessStart => {
  const argv = commandLine.split(' ');
  const [name = ''] = argv;
  return { executable: executable ?? (name.includes('/') ? name : `/usr/bin/${name}`), commandLine, argv };
};

/** The same as the kernel's line only, in which quotes are lost. */
export const withoutWords = (of: ProcessStart): ProcessStart => ({ ...of, argv: undefined });

const shown = ({ Image, CommandLine, CurrentDirectory }: View): string =>
  `${Image} | ${CommandLine}${CurrentDirectory === undefined ? '' : ` @ ${CurrentDirectory}`}`;

export const shownViews = (of: ProcessStart): string[] => viewsOf(of).map(shown);

/** Asserts that there is a view `IMAGE | COMMAND LINE`, and `@ DIRECTORY` if that counts. */
export function assertView(of: ProcessStart, expected: string): void {
  const views = shownViews(of).map((view) => (expected.includes(' @ ') ? view : (view.split(' @ ')[0] ?? '')));
  assert.ok(views.includes(expected), `no view "${expected}" of "${of.commandLine}", but:\n  ${views.join('\n  ')}`);
}
