#!/usr/bin/env node
import { runProgram } from '../core/command-line/program.ts';
import { commands } from './commands/index.ts';

void runProgram({ commands, exitAtOnce: () => {} });
