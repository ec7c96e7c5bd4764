/** As the kernel splits its command line: spaces between double quotes do not. See next_arg() in lib/cmdline.c. */
const WORDS = /(?:"[^"]*(?:"|$)|[^\s"])+/g;

/** The words of the kernel's command line, with their quotes. */
export const kernelWords = (commandLine: string): readonly string[] => commandLine.match(WORDS) ?? [];
