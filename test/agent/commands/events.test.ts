import assert from 'node:assert/strict';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { run } from '../../../src/agent/commands/events.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { worldOf } from './world.ts';

describe('vakt events', () => {
  let out: string[];
  let world: World;

  beforeEach(() => {
    out = [];
    world = worldOf((line) => out.push(line));
  });

  it('events lists each event with its category, type, priority and content', async () => {
    assert.equal(await run([], world), 0);
    assert.match(out[0] ?? '', /^EVENT +CATEGORY +TYPE +PRIORITY +CONTENT$/);
    assert.equal(out.length, collectors.length + 1);
    for (const [at, { name, category, type, priority, summary }] of collectors.entries()) {
      const words = [name, category, type, priority, ...summary.split(' ')];
      assert.deepEqual(out[at + 1]?.split(/ +/), words);
    }
  });

  it('events --json prints one JSON object per line', async () => {
    assert.equal(await run(['--json'], world), 0);
    const rows = out.map((line) => JSON.parse(line));
    assert.deepEqual(
      rows.map(({ name }) => name),
      collectors.map(({ name }) => name),
    );
    for (const row of rows) {
      const { extension, ...others } = row;
      assert.deepEqual(Object.keys(others), ['name', 'category', 'type', 'priority', 'version', 'summary', 'source']);
      assert.equal(extension, collectors.find(({ name }) => name === row.name)?.extension);
    }
  });

  it('events rejects arguments', async () => {
    await assert.rejects(run(['ProcessCreate'], world), UsageError);
  });
});
