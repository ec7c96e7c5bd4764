import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { collectors } from '../../src/agent/collectors/index.ts';
import { readLine } from '../../src/agent/commands/verify-chain/record.ts';
import { verifyChains } from '../../src/agent/commands/verify-chain/verify.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { faultsIn } from '../message-schema.ts';

interface Sample {
  readonly applicationProperties: Readonly<Record<string, string>>;
  readonly body: { readonly Events: readonly Envelope[] };
}

const FOLDER = 'config/samples';
const sampleOf = (event: string) => JSON.parse(readFileSync(`${FOLDER}/${event}.json`, 'utf8')) as Sample;

/* That they are what the agent's own parts make is checked by `npm run docs -- --check`. */
describe('the samples of messages', () => {
  it('includes a sample of every event, and no other', () => {
    const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));
    assert.deepEqual(files.sort(), collectors.map(({ name }) => `${name}.json`).sort());
  });

  it('has events that are what their file is called, with elements, and valid by the schema of messages', () => {
    for (const { name } of collectors) {
      const { body } = sampleOf(name);
      assert.ok(body.Events.length > 0, name);
      for (const event of body.Events) assert.deepEqual([event.Name, event.Payload.length > 0], [name, true]);
      assert.deepEqual(faultsIn(body, { isMarked: false }), [], name);
    }
  });

  it('has messages of separate chains, each with its number and a digest', () => {
    const numbered = collectors.map(({ name }, at) => readLine(JSON.stringify(sampleOf(name)), at + 1));
    const messages = numbered.filter((line) => 'sequence' in line);
    assert.equal(messages.length, collectors.length);
    const chains = verifyChains(messages, { isPartial: true });
    assert.equal(chains.length, collectors.length);
    assert.deepEqual(
      chains.flatMap(({ wrong }) => wrong),
      [],
    );
  });
});
