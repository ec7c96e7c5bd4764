#!/usr/bin/env -S node --max-semi-space-size=1 --single-threaded --heap-growing-percent=50 --disable-warning=DEP0169 --inspect-port=192.0.2.1:1024
import './core/base/no-inspector.ts'; // must be first, see there
import './agent/hub/memory.ts'; // must precede modules that load the SDK, see there
import { commands as ofTheAgent } from './agent/commands/index.ts';
import { exitAtOnce } from './agent/linux/native/system-calls.ts';
import { runProgram } from './core/command-line/program.ts';
import { commands as ofTheEmulator } from './emulator/commands/index.ts';
import { commands as ofTheFleet } from './fleet/commands/index.ts';

/* The command line of a clone: all three products. */

void runProgram({ commands: { ...ofTheAgent, ...ofTheEmulator, ...ofTheFleet }, exitAtOnce });
