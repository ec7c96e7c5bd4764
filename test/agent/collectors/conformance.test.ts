import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { toJsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { blanked } from '../../../src/agent/pipeline/element-table.ts';
import { labelled } from '../../../src/agent/pipeline/fit-rows.ts';
import type { Collector } from '../../../src/core/contract/collector.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { skip } from '../../harness/require.ts';
import { faultsIn } from '../../message-schema.ts';
import { NO_PUBLISHED_SCHEMAS, publishedSchema, publishedSchemas, validateMessage } from '../../published-schemas.ts';
import { look, records, sources } from './samples.ts';

/** What every collector makes of the samples: all of a snapshot, one payload from its stream. */
async function samplesOf(collector: Collector): Promise<readonly Payload[]> {
  if (collector.category === 'Periodic') return collector.collect(sources, new AbortController().signal);
  return [collector.translate(records[collector.stream], look) ?? assert.fail()];
}

const message = ({ category, name, type, version }: Collector, payload: readonly Payload[]) => ({
  AgentVersion: '0.1.0',
  AgentId: randomUUID(),
  MessageSchemaVersion: '1.0',
  Events: [
    {
      Id: randomUUID(),
      TimestampLocal: '2024-05-01T14:00:00.000+02:00',
      TimestampUTC: '2024-05-01T12:00:00.000Z',
      Category: category,
      Name: name,
      EventType: type,
      IsEmpty: payload.length === 0,
      PayloadSchemaVersion: version,
      Payload: payload,
    },
  ],
});

/** The published schema of a payload element, by its event's name. */
function publishedPayload({ name, type }: Collector): { properties: object; required?: string[] } {
  const file = {
    Security: `messageEventSecurity${name}_v1_0.json`,
    Diagnostic: 'messageEventDiagnostic_v1_0.json',
    Operational: `messageOperationalEvent${name.replace(/DroppedEventsStatistics/, 'DroppedEvents')}_v1_0.json`,
  }[type];
  const schema = publishedSchema(file) as { properties: { Payload: { items: object } } };
  return schema.properties.Payload.items as { properties: object; required?: string[] };
}

const reason = publishedSchemas === undefined ? ` (skipped: ${NO_PUBLISHED_SCHEMAS})` : '';

describe('every collector', () => {
  it('has a unique name', () => {
    assert.equal(new Set(collectors.map(({ name }) => name)).size, collectors.length);
  });

  for (const collector of collectors) {
    describe(collector.name, () => {
      it('sends only declared fields', async () => {
        const samples = await samplesOf(collector);
        assert.notEqual(samples.length, 0, 'test/agent/collectors/samples.ts has nothing for it');
        for (const sample of samples) v.parse(collector.payload, sample);
      });

      it('sends only JSON values: neither undefined nor NaN', async () => {
        const samples = await samplesOf(collector);
        assert.deepEqual(JSON.parse(JSON.stringify(samples)), samples);
      });

      it('describes each field', () => {
        const { properties = {} } = toJsonSchema(collector.payload);
        for (const [field, schema] of Object.entries(properties)) {
          assert.match((schema as { description?: string }).description ?? '', /\w/, field);
        }
      });

      if (collector.category === 'Triggered' && collector.aggregate !== undefined) {
        const { aggregate } = collector;
        it('sends only declared fields when aggregated', async () => {
          for (const sample of await samplesOf(collector))
            v.parse(collector.payload, blanked(aggregate, sample).payload);
        });
      }

      it('conforms to the message schema in config/', async () => {
        assert.deepEqual(faultsIn(message(collector, await samplesOf(collector)), { isMarked: false }), []);
        if (collector.category === 'Periodic')
          assert.deepEqual(faultsIn(message(collector, []), { isMarked: false }), []);
        else assert.notDeepEqual(faultsIn(message(collector, []), { isMarked: false }), []);
      });

      it('violates the message schema with an extra field, a missing field or another category', async () => {
        const [sample = {}] = await samplesOf(collector);
        const faults = (payload: Payload, changes: Partial<Collector> = {}) =>
          faultsIn(message({ ...collector, ...changes } as Collector, [payload]), { isMarked: false });
        assert.notDeepEqual(faults({ ...sample, Another: 'field' }), []);
        const { required = [] } = toJsonSchema(collector.payload);
        for (const field of required) {
          const { [field]: _, ...others } = sample;
          assert.notDeepEqual(faults(others), [], field);
        }
        const category = collector.category === 'Periodic' ? 'Triggered' : 'Periodic';
        assert.notDeepEqual(faults(sample, { category } as Partial<Collector>), []);
      });

      if (collector.extension) {
        it('is missing in the published schema', async function () {
          if (publishedSchemas === undefined) return skip(this, NO_PUBLISHED_SCHEMAS);
          assert.notDeepEqual(faultsIn(message(collector, await samplesOf(collector)), { isMarked: true }), []);
        });
        return;
      }

      describe(`the published schema${reason}`, () => {
        before(function () {
          if (publishedSchemas === undefined) return skip(this, NO_PUBLISHED_SCHEMAS);
        });

        it('accepts the event', async () => {
          assert.deepEqual(validateMessage(message(collector, await samplesOf(collector))), []);
        });

        if (collector.category === 'Periodic' && collector.inParts) {
          it('accepts the event in parts', async () => {
            const rows = await samplesOf(collector);
            const parts = labelled({ parts: [rows, rows], omittedRows: 7, omittedDetails: 1 });
            for (const part of parts) {
              for (const row of part) v.parse(collector.payload, row);
              assert.deepEqual(validateMessage(message(collector, part)), []);
            }
          });
        }

        if (collector.category === 'Periodic') {
          it('accepts the event without elements', () => assert.deepEqual(validateMessage(message(collector, [])), []));
        }

        it('declares all fields of the event, with the same ones required', () => {
          const published = publishedPayload(collector);
          const { properties = {}, required = [] } = toJsonSchema(collector.payload);
          for (const field of Object.keys(properties)) assert.ok(field in published.properties, field);
          assert.deepEqual([...required].sort(), [...(published.required ?? [])].sort());
        });
      });
    });
  }
});

describe(`validateMessage, for the published schemas${reason}`, () => {
  before(function () {
    if (publishedSchemas === undefined) return skip(this, NO_PUBLISHED_SCHEMAS);
  });

  it('reports the error', () => {
    const [collector] = collectors;
    assert.ok(collector);
    assert.notDeepEqual(validateMessage(message(collector, [{ Executable: 7 }])), []);
    assert.notDeepEqual(validateMessage({}), []);
  });
});
