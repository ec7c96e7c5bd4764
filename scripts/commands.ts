import { readdirSync } from 'node:fs';
import type { Command } from '../src/core/command-line/command.ts';

/** A command as the command line names it. */
export interface NamedCommand extends Command {
  /** `verify-chain`. */
  readonly name: string;
}

/** Every module of cli/ that declares a command, sorted by name. */
export async function allCommands(): Promise<NamedCommand[]> {
  const folder = new URL('../src/cli/', import.meta.url);
  const files = readdirSync(folder).filter((file) => file.endsWith('.js'));
  const modules = await Promise.all(
    files.sort().map(async (file) => ({ ...(await import(new URL(file, folder).href)), name: file.slice(0, -3) })),
  );
  return modules.filter((module): module is NamedCommand => 'usage' in module && 'summary' in module);
}
