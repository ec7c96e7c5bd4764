import { commands as ofTheAgent } from '../src/agent/commands/index.ts';
import type { Command } from '../src/core/command-line/command.ts';
import { commands as ofTheEmulator } from '../src/emulator/commands/index.ts';
import { commands as ofTheFleet } from '../src/fleet/commands/index.ts';

/** A command as the command line names it. */
export interface NamedCommand extends Command {
  /** `verify-chain`. */
  readonly name: string;
}

/** Every command of a clone, sorted by name. */
export async function allCommands(): Promise<NamedCommand[]> {
  const loaders = Object.entries({ ...ofTheAgent, ...ofTheEmulator, ...ofTheFleet });
  const commands = await Promise.all(loaders.map(async ([name, load]) => ({ ...(await load()), name })));
  return commands.sort((one, other) => (one.name < other.name ? -1 : 1));
}
