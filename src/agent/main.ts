#!/usr/bin/env -S node --max-semi-space-size=1 --single-threaded --heap-growing-percent=50 --disable-warning=DEP0169 --inspect-port=192.0.2.1:1024
import '../core/base/no-inspector.ts'; // must be first, see there
import './hub/memory.ts'; // must precede modules that load the SDK, see there
import { AgentError, type FailureId } from '../core/base/errors.ts';
import { runProgram } from '../core/command-line/program.ts';
import { commands } from './commands/index.ts';
import { exitAtOnce } from './linux/native/system-calls.ts';

/* The program that is installed on a device. */

const elsewhere = (id: FailureId, subject: string, remedy: string) => () =>
  new AgentError(id, `${subject} is not part of an installed agent`, remedy);
const theEmulator = elsewhere(
  'EMULATOR_MISSING',
  'the local hub',
  'Run it from a clone of the project, after "npm ci".',
);
const theFleet = elsewhere(
  'FLEET_MISSING',
  '"vakt fleet"',
  'Run it on a workstation, from a clone of the project, after "npm ci" and "npm run build".',
);

// Not awaited: the bundle is not an ES module.
void runProgram({
  commands,
  elsewhere: { demo: theEmulator, emulator: theEmulator, fleet: theFleet },
  exitAtOnce,
});
