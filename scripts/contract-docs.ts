/* The table of events in docs/contract.md, made from the collectors' declarations; the rest of that page is written by hand. */

import { toJsonSchema } from '@valibot/to-json-schema';
import { collectors } from '../src/agent/collectors/index.ts';
import type { Collector } from '../src/core/contract/collector.ts';
import { pageWithPart } from './documents.ts';

export const contractPage = pageWithPart('docs/contract.md', 'events', () =>
  [
    '| event | category, type, default priority | fields | equal when aggregated |',
    '| --- | --- | --- | --- |',
    ...collectors.map((collector) => `| ${row(collector).join(' | ')} |`),
  ].join('\n'),
);

function row(collector: Collector): string[] {
  const { name, category, type, priority, payload, extension } = collector;
  const schema = toJsonSchema(payload);
  const required = new Set(schema.required);
  const fields = Object.keys(schema.properties ?? {}).map((field) => (required.has(field) ? `**${field}**` : field));
  const aggregate = collector.category === 'Triggered' ? collector.aggregate : undefined;
  const equal = aggregate === undefined ? [] : [...aggregate.by, ...(aggregate.details ?? [])];
  return [
    extension ? `${name} (extension)` : name,
    `${category}, ${type}, ${priority}`,
    extension ? `${[...required].map((field) => `**${field}**`).join(', ')}, and others` : fields.join(', '),
    equal.join(', '),
  ];
}
