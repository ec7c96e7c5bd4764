import type { ProcessThen } from '../../../core/contract/ancestry.ts';

/** The system's interpreters, with their options that neither run another script nor read another file. */
const INTERPRETERS: readonly { readonly executable: RegExp; readonly options: RegExp }[] = [
  { executable: /^\/(usr\/)?bin\/(ba|da|a|k|mk)?sh$/, options: /^-[aefhuvx]+$/ },
  { executable: /^\/(usr\/)?bin\/perl(\d[\d.]*)?$/, options: /^-[wTt]+$/ },
  { executable: /^\/(usr\/)?bin\/python(\d[\d.]*)?$/, options: /^-[sSEIBu]+$/ },
  { executable: /^\/(usr\/)?bin\/ruby(\d[\d.]*)?$/, options: /^-[wW]$/ },
];
/** A multi-call binary: argv[0] selects its function, so only a shell's name leads to the script. */
const BUSYBOX = /^\/(usr\/)?bin\/busybox(\.\w+)?$/;

/**
 * The file whose code a process runs: its program, or the script passed to an interpreter of the system. Uses the exact
 * arguments: an argument with spaces is never split.
 *
 * @returns `undefined` for an interpreter without a script, such as `sh -c`, or whose arguments are unknown
 */
export function runFile({ executable, argv, pid }: ProcessThen): string | undefined {
  const isBusyBox = BUSYBOX.test(executable);
  if (isBusyBox && pid === 1) return executable;
  const interpreter = isBusyBox ? INTERPRETERS[0] : INTERPRETERS.find((each) => each.executable.test(executable));
  if (interpreter === undefined) return executable;
  if (isBusyBox && !/^(\/(usr\/)?bin\/)?a?sh$/.test(argv?.[0] ?? '')) return undefined;
  const script = argv?.slice(1).find((argument) => !interpreter.options.test(argument));
  return script?.startsWith('/') === true && !/\/\.{0,2}(\/|$)/.test(script) ? script : undefined;
}
