import assert from 'node:assert/strict';
import type { World } from '../../../src/core/command-line/command.ts';

/** What a command gets of the outside, with empty surroundings; what it prints beside its results fails the test. */
export const worldOf = (stdout: World['stdout'], change: Partial<World> = {}): World => ({
  stdout,
  stderr: (line) => assert.fail(line),
  environment: {},
  signal: new AbortController().signal,
  terminal: false,
  ...change,
});
