import { readArguments, table, type World } from '../../core/command-line/command.ts';
import { collectors } from '../collectors/index.ts';

export const summary = 'List the events that the agent can send.';
export const usage = `vakt events [--json]

  --json   print one JSON object per event`;

export async function run(args: readonly string[], { stdout }: World): Promise<number> {
  const { values } = readArguments(args, { json: { type: 'boolean' } });
  if (values.json) {
    for (const { name, category, type, priority, version, extension, summary, source } of collectors) {
      stdout(JSON.stringify({ name, category, type, priority, version, extension, summary, source }));
    }
    return 0;
  }
  const rows = collectors.map(({ name, category, type, priority, summary }) => [
    name,
    category,
    type,
    priority,
    summary,
  ]);
  for (const line of table([['EVENT', 'CATEGORY', 'TYPE', 'PRIORITY', 'CONTENT'], ...rows])) stdout(line);
  return 0;
}
