import { readFileSync } from 'node:fs';

/** The flags for Node in the first line of a program: `#!/usr/bin/env -S node --flag --flag`. */
export function nodeFlagsOf(program: string): string[] {
  const [first = ''] = readFileSync(program, 'utf8').split('\n', 1);
  return first.split(' ').filter((word) => word.startsWith('--'));
}

/** The flags that the agent runs with, for programs that are measured for comparison. */
export const NODE_FLAGS = nodeFlagsOf(new URL('../src/main.js', import.meta.url).pathname);
