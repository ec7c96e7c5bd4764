import { readFileSync } from 'node:fs';

/** The flags that a program asks Node for in its first line: `#!/usr/bin/env -S node --flag --flag`. */
export function nodeFlagsOf(program: string): string[] {
  const [first = ''] = readFileSync(program, 'utf8').split('\n', 1);
  return first.split(' ').filter((word) => word.startsWith('--'));
}

/** How the agent is run, for what is measured beside it. */
export const NODE_FLAGS = nodeFlagsOf(new URL('../src/main.js', import.meta.url).pathname);
