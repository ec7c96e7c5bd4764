import assert from 'node:assert/strict';
import type { World } from '../../../src/core/command-line/command.ts';

/** The world of a command, with an empty environment. Output to stderr fails the test, unless `change` handles it. */
export const worldOf = (stdout: World['stdout'], change: Partial<World> = {}): World => ({
  stdout,
  stderr: (line) => assert.fail(line),
  environment: {},
  signal: new AbortController().signal,
  terminal: false,
  ...change,
});
