/* Writes the documents that are generated from the code; see `generators`.
 *
 *   node dist/scripts/docs.js            writes them
 *   node dist/scripts/docs.js --check    lists those that are out of date; exit code 1 if there are any
 */

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { toJsonSchema } from '@valibot/to-json-schema';
import { collectors } from '../src/agent/collectors/index.ts';
import { auditRulesOf } from '../src/agent/linux/events.ts';
import { LARGEST_SNAPSHOT, MAX_PARTS } from '../src/agent/pipeline/fit-rows.ts';
import { readFileIfThere } from '../src/core/base/atomic-file.ts';
import type { Collector } from '../src/core/contract/collector.ts';
import { publishedName } from '../src/core/contract/settings.ts';
import { baselineDocuments } from './baseline-docs.ts';
import { commandDocuments } from './command-docs.ts';
import { completions } from './completions.ts';
import { configDocuments } from './config-docs.ts';
import { contractPage } from './contract-docs.ts';
import { demoPicture } from './demo-picture.ts';
import { detectionDocuments } from './detection-rules.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';
import { edgeDeployments } from './edge-deployment.ts';
import { mappingDocument } from './mapping-docs.ts';
import { sampleDocuments } from './message-samples.ts';
import { messageSchemaDocument } from './message-schema.ts';
import { methodDocuments } from './method-docs.ts';
import { metricsPage } from './metrics-docs.ts';

/** Every generated document. Add yours here. */
export const generators: readonly DocumentGenerator[] = [
  { path: 'src/agent/collectors/README.md', generate: () => collectorsDocument(collectors) },
  ...configDocuments,
  ...methodDocuments,
  ...baselineDocuments,
  mappingDocument,
  ...detectionDocuments,
  ...commandDocuments,
  ...completions,
  demoPicture,
  contractPage,
  metricsPage,
  messageSchemaDocument,
  ...sampleDocuments,
  ...edgeDeployments,
];

export function collectorsDocument(all: readonly Collector[]): string {
  return `<!-- ${GENERATED} -->

# Events

The events that the agent can send. Each is one file in this folder that declares everything about it; this page, the module
twin's keys, \`vakt events\` and the tests in \`test/agent/collectors/conformance.test.ts\` are made from the declarations.
[CONTRIBUTING.md](../../../CONTRIBUTING.md#add-an-event) explains how to add one.

${table(
  ['Event', 'Category', 'Type', 'Priority', 'Content'],
  all.map(({ name, category, type, priority, summary }) => [
    `[${name}](#${name.toLowerCase()})`,
    category,
    type,
    priority,
    summary,
  ]),
)}

The priority is a default, which \`${publishedName('priorities', '<Event>')}\` in the module twin replaces. A Periodic event is a snapshot, taken
every \`${publishedName('snapshotFrequency')}\`; a Triggered event reports something that happened.

A snapshot that is larger than a message (\`maxMessageSizeInBytes\`) is sent in parts, for the events marked below:
one event for each part, each with whole elements of its own. ExtraDetails of the first element of each part has \`Part\`
(counted from 1), \`Parts\` and \`SnapshotId\`, which all parts of a snapshot share. Replace what an earlier snapshot
reported when all parts have arrived. At most ${MAX_PARTS} parts are sent, of ${LARGEST_SNAPSHOT / 1024} KiB, a third of \`maxLocalCacheSizeInBytes\` and a
quarter of the day's message units together.

If it still does not fit, ExtraDetails are omitted first, then elements, from the end. The last element then has
\`OmittedDetails\` and \`OmittedElements\`, the number of each, and the event's collector is \`degraded\`.

${all.map(section).join('\n')}`;
}

function section(collector: Collector): string {
  const { name, summary, category, type, priority, version, source, payload } = collector;
  const schema = toJsonSchema(payload);
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties ?? {}).map(([field, of]) => {
    if (typeof of === 'boolean') throw new TypeError(`${name}.${field} has no type`);
    return [field, typeName(of), required.has(field) ? 'yes' : 'no', of.description ?? ''];
  });
  return `## ${name}

${summary}

- ${category}, ${type}, priority ${priority}, payload schema ${version}
- Source: ${source}
${collector.extension ? `${EXTENSION}\n` : ''}${category === 'Triggered' ? triggeredLines(collector) : periodicLines(collector)}
${table(['Field', 'Type', 'Required', 'Meaning'], fields)}
`;
}

const EXTENSION =
  '- Not in the published contract: sent in messages without the mark for the security service only ' +
  '([contract §3](../../../docs/contract.md#3-messages))';

const periodicLines = ({ inParts }: Extract<Collector, { category: 'Periodic' }>): string =>
  inParts ? '- Sent in parts when it is larger than a message\n' : '';

function triggeredLines(collector: Extract<Collector, { category: 'Triggered' }>): string {
  const { name, stream, aggregate } = collector;
  const calls = [...new Set(auditRulesOf(stream).flatMap(({ syscalls }) => syscalls))];
  const audit = calls.length === 0 ? '' : `- Audited system calls: ${calls.join(', ')}\n`;
  const counted =
    aggregate === undefined
      ? '- Never aggregated\n'
      : `- Aggregated by ${[...aggregate.by, ...(aggregate.details ?? [])].join(', ')} while \`${publishedName('aggregationEnabled', name)}\`
  is true; ExtraDetails then has HitCount, StartTimeUtc, StartTimeLocal, EndTimeUtc and EndTimeLocal\n`;
  return audit + counted;
}

type PropertySchema = Exclude<NonNullable<ReturnType<typeof toJsonSchema>['properties']>[string], boolean>;

function typeName({ type, enum: values }: PropertySchema): string {
  if (values !== undefined) return values.join(', ');
  return type === 'object' ? 'map of strings' : String(type);
}

async function main(): Promise<number> {
  const { check } = parseArgs({ options: { check: { type: 'boolean', default: false } } }).values;
  let stale = 0;
  for (const { path, generate } of generators) {
    const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
    const fresh = await generate();
    if (readFileIfThere(file) === fresh) continue;
    stale += 1;
    if (check) console.error(`${path} is out of date: ${firstDifference(readFileIfThere(file) ?? '', fresh)}`);
    else {
      writeFileSync(file, fresh);
      console.error(`${path} written`);
    }
  }
  if (check && stale > 0) console.error('Run: npm run docs');
  return check && stale > 0 ? 1 : 0;
}

function firstDifference(old: string, fresh: string): string {
  const was = old.split('\n');
  const is = fresh.split('\n');
  const at = is.findIndex((line, index) => line !== was[index]);
  const line = at === -1 ? is.length : at;
  return `line ${line + 1}\n- ${was[line] ?? '(end)'}\n+ ${is[line] ?? '(end)'}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
