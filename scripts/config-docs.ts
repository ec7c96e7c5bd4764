/* Generates the pages and files in config/ from the declarations of the settings. */

import { join } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { collectors } from '../src/agent/collectors/index.ts';
import { settingPaths } from '../src/agent/config/environment.ts';
import { EXAMPLE_HUB, LocalSettings } from '../src/agent/config/local.ts';
import { StatusSchema } from '../src/agent/status/schema.ts';
import { PAGES } from '../src/core/base/pages.ts';
import { publishedName, type SettingRow, settingRows } from '../src/core/contract/settings.ts';
import { PUBLISHED_OBJECT as OBJECT, publishedObject } from '../src/core/twin/published-object.ts';
import { PROGRAM } from './debian.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

const { properties, write, sectionWith } = publishedObject(settingRows(collectors));

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** The kind of identity that agent.json shows. */
const EXAMPLE_KIND = 'moduleKey';

/** The description of a setting; wrappers of its schema are skipped. */
function described(schema: unknown): { type: string; description: string; fallback: unknown } {
  const whole = toJsonSchema(v.strictObject({ it: schema as v.GenericSchema }), {
    errorMode: 'ignore',
    typeMode: 'input',
  });
  const it = whole.properties?.it ?? {};
  if (typeof it === 'boolean') throw new TypeError('a setting has no type');
  const { type, enum: values, description = '', default: fallback } = it;
  return { type: values?.join(', ') ?? String(type), description, fallback };
}

const settings = settingPaths(LocalSettings).map(({ path, variable, schema }) => ({
  path,
  variable,
  ...described(schema),
}));

/** A default as JSON; empty where a setting has none. */
const inJson = (fallback: unknown) => (fallback === undefined ? '' : `\`${JSON.stringify(fallback)}\``);

const local = table(
  ['Setting', 'Variable', 'Type', 'Default', 'Meaning'],
  settings
    .filter(({ path }) => path[0] !== 'identity')
    .map(({ path, variable, type, description, fallback }) => [
      `\`${path.join('.')}\``,
      `\`${variable}\``,
      type,
      inJson(fallback),
      description,
    ]),
);

const twin = table(
  ['Property', 'Value', 'Default', 'Meaning'],
  properties.map(({ name, kind, fallback, purpose }) => [`\`${name}\``, kind.range, inJson(fallback ?? null), purpose]),
);

/** The settings of each kind of identity: the same name may mean another file for another kind. */
const kinds = table(
  ['`identity.kind`', 'Setting', 'Variable', 'Required', 'Default', 'Meaning'],
  LocalSettings.entries.identity.options.flatMap(({ entries }) => {
    const kind = `\`${entries.kind.literal}\``;
    const members = Object.entries(entries).filter(([name]) => name !== 'kind');
    if (members.length === 0) return [[kind, '', '', '', '', 'has no settings']];
    return members.map(([name, schema]) => {
      const variable = settings.find(({ path }) => path.join('.') === `identity.${name}`)?.variable ?? '';
      const required = schema.type === 'optional' ? 'no' : 'yes';
      const { fallback, description } = described(schema);
      return [kind, `\`${name}\``, `\`${variable}\``, required, inJson(fallback), description];
    });
  }),
);

const page = () => `<!-- ${GENERATED} -->

# Configuration

[docs/configure.md](../docs/configure.md) explains how local file and module twin work together.

## On the device

The local file is \`/etc/vakt/agent.json\`, or the one that \`--config\` names. It is JSON; comments and trailing commas are
allowed. An unknown name is ignored, with a warning that has the nearest known name. Relative paths start at the file's folder. Every setting can also be given as an
environment variable, which takes precedence over the file; with variables, the file may be missing.
[config/agent.json](agent.json) contains every setting at its default; of the kinds of identity, it shows \`${EXAMPLE_KIND}\`.

Other variables that begin with \`VAKT_\` are ignored, with a warning, since they are probably misspelt. There is no warning about those that Kubernetes and Docker make
of a service or a link called \`vakt\` or \`vakt-…\`, such as \`VAKT_SERVICE_HOST\` and \`VAKT_PORT_9100_TCP_ADDR\`.

${local}

### Identity

\`identity.kind\` (\`VAKT_IDENTITY__KIND\`) selects how the agent proves which module it is. Files with secrets must be
readable by their owner only.

${kinds}

## In the module twin

The desired properties contain one object named \`${OBJECT}\`. Each of its members
is \`{"value": X}\`; one that is absent or \`null\` has its default. A configuration with a fault is refused as a whole, and the
one in force stays. The reported properties mirror the configuration in force; \`securityAgent.configuration\` says what was
wrong. [config/twin.json](twin.json) contains every property at its default.

${twin}

Durations are ISO 8601 (\`PT7M\`, \`P1DT12H\`), from PT1S to P365D; a month is 30 days, a year 365. Priorities are compared
without regard to case.

## What the agent reports

Besides the mirror, \`securityAgent\` contains the agent's status: [config/status.schema.json](status.schema.json). Changes of
state are reported within seconds, counters once per \`${publishedName('highPriorityMessageFrequency')}\`.
[config/queries.md](queries.md) has queries that find the devices in trouble.
`;

const exampleEntries: Readonly<Record<string, unknown>> =
  LocalSettings.entries.identity.options.find(({ entries }) => entries.kind.literal === EXAMPLE_KIND)?.entries ?? {};

/** The settings that agent.json shows: of the kinds of identity, those of one, as that one describes them. */
const shownSettings = settings.flatMap((setting) => {
  const [group, name = ''] = setting.path;
  if (group !== 'identity') return [setting];
  const schema = exampleEntries[name];
  return schema === undefined ? [] : [{ ...setting, ...described(schema) }];
});

/** For the operator, who edits the copy in /etc/vakt. */
const AGENT_FILE_HEAD = [
  '// Settings of Vakt, each at its default if it has one. After a change: sudo systemctl restart vakt',
  `// ${join('/', PROGRAM, PAGES.settings.shipped)} explains them, and has those of other kinds of identity.`,
];

/** Every setting at its default, or commented out when it has none. */
function agentFile(): string {
  const lines: string[] = [...AGENT_FILE_HEAD, '{'];
  for (const [group, members] of groupByFirst()) {
    const nested = members.some(({ path }) => path.length > 1);
    const indent = nested ? '    ' : '  ';
    if (nested) lines.push(`  ${JSON.stringify(group)}: {`);
    for (const { path, description, fallback } of members) {
      const dotted = path.join('.');
      const value = EXAMPLES[dotted] ?? fallback;
      const member = `${JSON.stringify(path.at(-1))}: ${JSON.stringify(value ?? PLACEHOLDERS[dotted] ?? '…')},`;
      if (description !== '') lines.push(`${indent}// ${description}`);
      lines.push(`${indent}${value === undefined ? '// ' : ''}${member}`);
    }
    if (nested) lines.push('  },');
  }
  return `${[...lines, '}'].join('\n')}\n`;
}

function groupByFirst(): Map<string, typeof settings> {
  const groups = new Map<string, typeof settings>();
  for (const setting of shownSettings) {
    const first = setting.path[0] ?? '';
    groups.set(first, [...(groups.get(first) ?? []), setting]);
  }
  return groups;
}

/** Examples for settings that are required and have no default. */
const EXAMPLES: Readonly<Record<string, unknown>> = {
  'hub.hostName': EXAMPLE_HUB,
  'identity.kind': EXAMPLE_KIND,
  'identity.deviceId': 'device1',
  'identity.moduleId': 'azureiotsecurity',
  'identity.keyFile': 'secrets/module.key',
};

/** For settings that are commented out and take no text. */
const PLACEHOLDERS: Readonly<Record<string, unknown>> = {
  'limits.largestCacheInBytes': 16_777_216,
};

/** A member of the configuration object; `null` where nothing is set. */
const defaultMember = ({ id, name, fallback }: SettingRow) =>
  fallback === undefined ? null : write(new Map([[id, fallback]]))[name];

function twinFile(): string {
  const object = Object.fromEntries(properties.map((property) => [property.name, defaultMember(property)]));
  return json({ properties: { desired: sectionWith(object) } });
}

const localSchema = () => json({ ...toJsonSchema(LocalSettings, { errorMode: 'ignore', typeMode: 'input' }) });

function twinSchema(): string {
  const member = (property: SettingRow) => {
    const { $schema: _, ...value } = toJsonSchema(property.kind.schema, { errorMode: 'ignore', typeMode: 'input' });
    const described = { ...value, description: property.kind.range };
    const object = { type: 'object', properties: { value: described }, required: ['value'] };
    return { description: property.purpose, default: defaultMember(property), oneOf: [object, { type: 'null' }] };
  };
  return json({
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: `The configuration object ${OBJECT} of the module twin's desired properties`,
    type: ['object', 'null'],
    properties: Object.fromEntries(properties.map((property) => [property.name, member(property)])),
  });
}

const statusSchema = () =>
  json({
    ...toJsonSchema(StatusSchema, { errorMode: 'ignore' }),
    title: 'securityAgent, in the reported properties of the module twin',
  });

export const configDocuments: readonly DocumentGenerator[] = [
  { path: 'config/README.md', generate: page },
  { path: 'config/agent.json', generate: agentFile },
  { path: 'config/twin.json', generate: twinFile },
  { path: 'config/agent.schema.json', generate: localSchema },
  { path: 'config/twin.schema.json', generate: twinSchema },
  { path: 'config/status.schema.json', generate: statusSchema },
];
