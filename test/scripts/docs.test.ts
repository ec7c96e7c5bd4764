import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { collectorsDocument } from '../../scripts/docs.ts';
import { collectors } from '../../src/agent/collectors/index.ts';
import { EXPENDABLE } from '../../src/agent/status/reported.ts';

describe('pages of events', () => {
  it('lists in docs/contract.md the reported members that are dropped first without enough space, in order', () => {
    const page = readFileSync(new URL('../../../docs/contract.md', import.meta.url), 'utf8');
    const [, parts = ''] = /until the rest fits: ([\s\S]*?), then the largest/.exec(page) ?? [];
    assert.deepEqual(
      [...parts.matchAll(/`([\w.]+)`/g)].map(([, part]) => part),
      EXPENDABLE,
    );
  });

  it('has a section for every event, and a row for every field', () => {
    const document = collectorsDocument(collectors);
    for (const { name } of collectors) assert.ok(document.includes(`\n## ${name}\n`), name);
    assert.match(document, /^\| ParentProcessId +\| integer +\| yes +\| /m);
    assert.match(document, /^\| UserName +\| string +\| no +\| /m);
  });

  it('shows an event as soon as it is in the list', () => {
    const [first] = collectors;
    assert.ok(first);
    assert.match(collectorsDocument([{ ...first, name: 'Newcomer' }]), /\n## Newcomer\n/);
  });
});
